"""Commands asked to stop: exit code 75, one line that says what is left."""

import os
import signal
import sys

import pytest

from facedistill.cli.app import main
from facedistill.cli.stopping import files_written
from facedistill.core.signals import STOP_SIGNALS
from facedistill.data import open as opening
from facedistill.distill.bank.format import BankInfo, write_info
from facedistill.evaluation import evaluate as evaluating
from facedistill.experiments import preparation
from facedistill.experiments.build import training_data
from facedistill.report.documents import inspection
from tests.cli.calling import FACES, LOOSE, settings


@pytest.fixture
def stopped(monkeypatch, capsys):
    """Run a command: what it said on stderr when it was asked to stop."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["facedistill", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 75
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def sending(number):
    return lambda *_, **__: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("prepare", FACES, "--pack", "--out", "OUT"), "stopped, OUT is not written: run the same"),
        (
            ("embed", "--teacher", "STORY/student.onnx", "--data", FACES, "--out", "OUT"),
            "stopped, nothing is saved",
        ),
        (
            ("export", "STORY/student", "--data", FACES, "--out", "OUT.onnx"),
            "stopped, OUT.onnx is not written",
        ),
        (
            ("train", "arcface", *settings(f"data.train={FACES}"), "--out", "OUT"),
            "stopped outside of training, no step is",
        ),
        (("inspect", FACES, "--sheet", "OUT.png"), "stopped: run the same command again"),
    ],
    ids=["prepare", "embed", "export", "train", "inspect"],
)
def test_a_command_that_is_stopped_says_what_it_leaves(
    story, tmp_path, monkeypatch, stopped, number, words, line
):
    for module in (opening, inspection, training_data):
        monkeypatch.setattr(module, "open_dataset", sending(number))
    out = str(tmp_path / "out")
    words = [word.replace("STORY", str(story)).replace("OUT", out) for word in words]
    assert stopped(*words).startswith(line.replace("OUT", out))


def test_an_evaluation_that_is_stopped_says_what_it_has_written(story, monkeypatch, stopped):
    monkeypatch.setattr(evaluating, "open_protocol", sending(signal.SIGTERM))
    line = stopped("evaluate", story / "student.onnx", FACES)
    assert line == "stopped, nothing is written: run the same command again"


def test_an_embedding_that_is_stopped_counts_its_images(story, tmp_path, monkeypatch, stopped):
    info = BankInfo("t", "t.onnx", "d", "faces", count=11, dimension=4, rows=4)
    write_info(tmp_path, info)
    (tmp_path / "rows-00000.npy").touch()
    (tmp_path / "part-00001-0000003.npy").touch()
    monkeypatch.setattr(opening, "open_dataset", sending(signal.SIGTERM))
    teacher = story / "student.onnx"
    line = stopped("embed", "--teacher", teacher, "--data", FACES, "--out", tmp_path)
    assert line == (
        f"stopped, 7 of 11 images are kept in {tmp_path}: run the same command again to go on"
    )


def test_what_was_written_before_the_signal_is_said_to_be_written(
    finder, tmp_path, monkeypatch, stopped
):
    monkeypatch.setattr(preparation, "save_sheet", sending(signal.SIGTERM))
    line = stopped(
        *(
            "prepare",
            LOOSE,
            "--align",
            "--model",
            finder / "finder.onnx",
            "--out",
            tmp_path / "out",
        ),
        *("--sheet", tmp_path / "sheet.png"),
    )
    assert line == f"stopped, {tmp_path / 'out'} is written"


def test_files_that_were_written_are_named(tmp_path):
    (tmp_path / "old.json").write_text("old")
    written = files_written(tmp_path, tmp_path / "later")
    assert written() == []
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "new.json").write_text("new")
    (tmp_path / "later" / ".new-0123.html").write_text("half")
    assert written() == [tmp_path / "later" / "new.json"]
