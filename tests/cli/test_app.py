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
        (["trian", "arcface"], "no such command 'trian'"),
        (["train", "arcface", "--outt", "x"], "no such option: --outt; did you mean '--out'?"),
        (["train", "arcface", "--seed", "3"], "give --set seed=VALUE"),
        (["train", "arcface", "--epochs", "3"], "give --set training.epochs=VALUE"),
        (["train"], "missing argument 'recipe' (see `"),
        (["bench", "x.onnx", "--batch", "no"], "invalid value for '--batch': input should be"),
        (["export", "x", "--out"], "option '--out' requires an argument"),
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


FACES = "procedural:identities=4,images=2,size=16"
HEAVY = {"torch", "cv2", "onnxruntime", "scipy", "matplotlib"}
EVALUATION = HEAVY - {"cv2"}
"""Of `evaluate`: its options are those of faces and pairs, which OpenCV decodes."""
MISTAKES = [
    (HEAVY, arguments)
    for arguments in (
        ["trian", "arcface"],
        ["train", "arcface", "--outt", "x"],
        ["train", "arcfase"],
        ["train", "arcface", "--set", "data.trian=x"],
        ["train", "arcface", "--set", "objectives.margin_softmaxx={}"],
        ["train", "arcface", "--set", "student.network=mobilefacenett"],
        ["train", "arcface", "--set", "data.train=nowhere"],
        ["distill", "fcd", "--set", "optimizer.lr=fast"],
        ["distill", "fcd", "--set", f"data.train={FACES}", "--set", "teacher.bank=nowhere"],
        ["distill", "arcface"],
        ["compare", "plain=arcfase", "fcd", "--out", "x"],
        ["compare", "arcface", "fcd", "--set", "data.trian=x", "--out", "x"],
        ["compare", "arcface", "--set", "student.network=mobilefacenett", "--out", "x"],
        ["compare", "arcface", "--pairs", "nowhere.bin", "--out", "x"],
        ["compare", "arcface", "fcd", "--set", "data.train=nowhere", "--out", "x"],
        ["train", "arcface"],
        ["export", "x.safetensors", "--target", "onxx", "--out", "x"],
        ["export", "nowhere.safetensors", "--out", "x"],
        ["prepare", "photos", "--out", "x"],
        ["prepare", "nowhere", "--pack", "--out", "x"],
        ["embed", "--data", "x", "--out", "x"],
        ["embed", "--data", FACES, "--teacher", "nowhere.onnx", "--out", "x"],
        ["inspect", "bank", "--data", "x"],
        ["inspect", "nowhere"],
        ["bench", "nowhere.onnx"],
        ["verify", "nowhere.png", "nowhere.png", "--model", "nowhere.onnx"],
        ["list", "recipe"],
        ["train", "arcface", "--import", "no_such_module"],
    )
] + [
    (EVALUATION, ["evaluate", *words])
    for words in (
        ["nowhere.onnx", FACES],
        [__file__, "nowhere.bin"],
        [__file__, FACES, "--far", "2"],
        [__file__, FACES, "--protocol", "exat", "--report", "x"],
        [__file__, FACES, "--variant", "X"],
        [__file__, FACES, "--groups", __file__],
    )
]


def test_a_mistake_is_found_before_torch_is_imported():
    code = (
        "import sys\n"
        "from facedistill.cli import main\n"
        f"for heavy, arguments in {MISTAKES!r}:\n"
        "    sys.argv[1:] = arguments\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n"
        "        print(end.code, sorted(heavy & sys.modules.keys()), arguments)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = [f"2 [] {arguments}" for _, arguments in MISTAKES]
    assert result.stdout.splitlines() == lines, result.stderr
    assert "Traceback" not in result.stderr


def test_the_version_is_printed():
    assert call("--version").strip() == f"facedistill {__version__}"


def test_completion_can_be_installed():
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).output
