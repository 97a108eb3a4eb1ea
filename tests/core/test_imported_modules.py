import subprocess
import sys

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.imported_modules import VARIABLE, import_inherited, import_modules


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("their_"):
            del sys.modules[name]


def test_a_module_of_the_current_folder_is_imported_here_and_in_processes(tmp_path):
    (tmp_path / "their_module.py").write_text("value = 5\n")
    import_modules(["their_module"])
    import_modules(["their_module"])
    assert sys.modules["their_module"].value == 5
    code = (
        "import sys; from facedistill.core.imported_modules import import_inherited; "
        "import_inherited(); print(sys.modules['their_module'].value)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert answer.stdout.strip() == b"5"


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "No module named"), ("1 / 0", "division by zero"), ("(", "never")]
)
def test_what_cannot_be_imported_is_one_line(tmp_path, text, reason):
    if text:
        (tmp_path / "their_broken.py").write_text(text)
    with pytest.raises(FacedistillError, match=f"--import their_broken: .*{reason}") as caught:
        import_modules(["their_broken"])
    assert "\n" not in str(caught.value)
    import_inherited()


def test_a_network_is_no_module():
    with pytest.raises(FacedistillError, match=r"x\.onnx: that is a network.*--teacher"):
        import_modules(["x.onnx"])
