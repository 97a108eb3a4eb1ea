import subprocess
import sys

import pytest


def test_main_job_leaves_a_student_and_its_onnx_file(story):
    assert (story / "student" / "summary.json").exists()
    assert (story / "student.onnx").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evaluate", "absent.onnx", "procedural:identities=9,images=4,size=32"], "absent.onnx"),
        (["distill", "fdc"], "did you mean 'fcd'?"),
        (["inspect", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, line):
    command = [sys.executable, "-m", "facedistill", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    (said,) = result.stderr.strip().splitlines()
    assert said.startswith("error: ")
    assert line in said


def test_help_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from typer.testing import CliRunner; from facedistill.cli.app import app; "
        "assert 'distill' in CliRunner().invoke(app, ['--help']).output; "
        "sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
