import shlex
import subprocess
import sys
import warnings

import pytest
import typer
from typer.testing import CliRunner

from facedistill import __version__
from facedistill.cli.app import EXAMPLES, app, main
from facedistill.models.files.open_network import open_network
from tests.cli.calling import call


def test_main_job_leaves_a_student_and_its_onnx_file(story):
    assert (story / "student" / "summary.json").exists()
    assert open_network(story / "student.onnx").embedding_size == 16


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evaluate", "absent.onnx", "procedural:identities=9,images=4,size=32"], "absent.onnx"),
        (["distill", "fdc"], "did you mean 'fcd'?"),
        (["inspect", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["facedistill", *arguments])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` changes it.
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    (message,) = capsys.readouterr().err.strip().splitlines()
    assert message.startswith("error: ")
    assert line in message


def test_help_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from typer.testing import CliRunner; from facedistill.cli.app import app; "
        "assert 'distill' in CliRunner().invoke(app, ['--help']).output; "
        "sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


COMMANDS = dict(typer.main.get_command(app).commands)


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_ends_with_examples_that_parse(name):
    examples = COMMANDS[name].examples if name else EXAMPLES
    output = CliRunner().invoke(app, [*([name] if name else []), "--help"]).output
    assert [line.strip() for line in output.rstrip().splitlines()[-len(examples) :]] == [*examples]
    for example in examples:
        program, called, *words = shlex.split(example)
        assert program == "facedistill"
        assert called == (name or called)
        COMMANDS[called].make_context(called, words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian", "arcface"],
        ["train", "arcface", "--outt", "x"],
        ["train", "arcfase"],
        ["train", "arcface", "--set", "data.trian=x"],
        ["distill", "fcd", "--set", "optimizer.lr=fast"],
        ["distill", "arcface"],
        ["compare", "plain=arcfase", "fcd", "--out", "x"],
        ["compare", "arcface", "fcd", "--set", "data.trian=x", "--out", "x"],
        ["export", "x.safetensors", "--target", "onxx", "--out", "x"],
        ["prepare", "photos", "--out", "x"],
        ["embed", "--data", "x", "--out", "x"],
        ["inspect", "bank", "--data", "x"],
        ["list", "recipe"],
        ["train", "arcface", "--import", "no_such_module"],
    ],
)
def test_a_mistake_is_found_before_torch_is_imported(arguments):
    code = (
        "import sys\n"
        f"sys.argv[1:] = {arguments!r}\n"
        "from facedistill.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        "    heavy = {'torch', 'cv2', 'onnxruntime', 'scipy', 'matplotlib'} & sys.modules.keys()\n"
        "    print(end.code, sorted(heavy))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "2 []", result.stdout + result.stderr


def test_the_version_is_printed():
    assert call("--version").strip() == f"facedistill {__version__}"


def test_completion_can_be_installed():
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).output
