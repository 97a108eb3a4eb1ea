import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
{before}
import facedistill
{after}
"""


def run(after, before="", **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, after=after)],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_onnx_runtime_finds_its_telemetry_switched_off_whatever_was_set():
    assert run("print(os.environ['ORT_DISABLE_TELEMETRY'])", ORT_DISABLE_TELEMETRY="0") == "1"


def test_the_runtime_alone_switches_it_off_too():
    after = "import facedistill.runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(after) == "1"


def test_openvino_takes_its_stub():
    pytest.importorskip("openvino")
    after = "import openvino.tools.ovc.telemetry_utils as t; print(t.tm.__name__)"
    assert run(after) == "openvino.tools.ovc.telemetry_stub"


def test_a_package_that_the_application_imported_stays():
    before = "import types; sys.modules['openvino_telemetry'] = types.ModuleType('own')"
    assert run("print(sys.modules['openvino_telemetry'].__name__)", before) == "own"


@pytest.mark.parametrize("own", [True, False])
def test_matplotlib_keeps_its_folder_or_takes_the_cache(tmp_path, own):
    if own:
        (tmp_path / ".config" / "matplotlib").mkdir(parents=True)
    after = "print(os.environ.get('MPLCONFIGDIR', 'unset'))"
    expected = "unset" if own else str(tmp_path / "cache" / "matplotlib")
    assert run(after, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache")) == expected
