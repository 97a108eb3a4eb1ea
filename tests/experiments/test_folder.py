import errno
import os
import subprocess
import sys
import warnings

import pytest
from matplotlib.figure import Figure

from facedistill.core.errors import FacedistillError
from facedistill.experiments import folder as folder_module
from facedistill.experiments.folder import claim, figures_of
from facedistill.experiments.run import run
from facedistill.report.figures.curves import save_figure
from tests.child_process import call_command
from tests.engine.standin import tiny_recipe


def test_a_folder_is_held_by_one_and_free_afterwards(tmp_path):
    folder = tmp_path / "a" / "b"
    with claim(folder), pytest.raises(FacedistillError, match="in use by another"), claim(folder):
        pass
    with claim(folder):
        pass


def test_a_claim_leaves_nothing_but_what_was_made_meanwhile(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(FacedistillError), claim(folder):
        raise FacedistillError("no")
    assert not list(tmp_path.iterdir())
    with claim(folder):
        (folder / "made").touch()
    assert [path.name for path in folder.iterdir()] == ["made"]


def test_a_lock_that_its_holder_removed_meanwhile_is_no_claim(tmp_path, monkeypatch):
    """One opens the lock file, and its holder removes it before the one has it."""
    lock, flock = tmp_path / ".lock", folder_module.fcntl.flock
    calls = []

    def overtaken(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            lock.unlink()
        flock(*arguments)

    monkeypatch.setattr(folder_module.fcntl, "flock", overtaken)
    with claim(tmp_path):
        monkeypatch.undo()
        assert len(calls) == 2
        with pytest.raises(FacedistillError, match="in use by another"), claim(tmp_path):
            pass


def test_a_file_system_without_locks_is_served(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_module.fcntl, "flock", refuse)
    with claim(tmp_path):
        pass


def test_a_killed_process_leaves_no_claim(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from facedistill.experiments.folder import claim\n"
        "with claim(Path(sys.argv[1])): print('held', flush=True); os.kill(os.getpid(), 9)"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
    assert child.stdout == b"held\n"
    with claim(tmp_path):
        pass


def test_a_process_that_a_killed_one_forked_holds_nothing(tmp_path):
    # The child lives for as long as the test does: its end is a pipe that this process closes.
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from facedistill.experiments.folder import claim\n"
        "with claim(Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n"
        "        print('alive', flush=True); sys.stdin.read(); os._exit(0)\n"
        "    signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"alive\n"
        with pytest.raises(FacedistillError, match="in use by another"), claim(tmp_path):
            pass
        process.kill()
        process.wait()
        with claim(tmp_path):
            pass
        process.stdin.close()
        assert process.stdout.read() == b""  # only now has the child ended


def test_a_second_command_on_a_folder_in_use_is_refused_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` changes it.
    codes = []

    def begin_a_second(line):
        faces = "data.train=procedural:identities=4,images=2,size=16"
        with pytest.raises(SystemExit) as end:
            call_command("train", "arcface", "--set", faces, "--out", str(tmp_path / "run"))
        codes.append(end.value.code)

    monkeypatch.setattr(sys, "argv", [])  # `call_command` changes it.
    run(tiny_recipe("training.steps=1"), tmp_path / "run", begin_a_second)
    assert codes
    assert set(codes) == {FacedistillError.exit_code}
    written = capsys.readouterr()
    assert written.out == ""
    assert set(written.err.splitlines()) == {
        f"error: {tmp_path / 'run'} is in use by another facedistill: wait for it, or choose "
        "another --out"
    }


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FacedistillError, match="cannot write to"), claim(tmp_path / "file" / "run"):
        pass


def test_figures_are_those_that_the_run_has_drawn(tmp_path):
    for name in ("saliency.png", "gain_by_class.png"):
        save_figure(Figure(), tmp_path / name)
    for name in ("holiday.png", "best.safetensors"):
        (tmp_path / name).write_bytes(b"of the user")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    assert figures_of(tmp_path) == {
        "gain by class": tmp_path / "gain_by_class.png",
        "saliency": tmp_path / "saliency.png",
    }


def test_a_file_of_the_locks_name_that_holds_something_stays(tmp_path):
    (tmp_path / ".lock").write_text("mine")
    with pytest.raises(FacedistillError, match="is no lock of facedistill"), claim(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "mine"
