"""Runs of a comparison in processes: order, devices, and the ends of processes."""

import os
import re
import signal

import pytest

from facedistill.core.errors import Interrupted
from facedistill.experiments import processes
from facedistill.experiments.processes import (
    LOG,
    _end,
    _ready,
    _standing,
    _stop,
    _visible,
    _was_stopped,
    run_apart,
)
from facedistill.experiments.trial import Job, note_error, read_error
from facedistill.recipe.comparison import Trial
from tests.engine.standin import tiny_recipe


def job(folder, *after):
    return Job(Trial("row", 3, tiny_recipe(), folder, after), {})


class Ended:
    """A process that has ended, or is asked to."""

    def __init__(self, exitcode=None):
        self.exitcode, self.calls = exitcode, []

    def join(self):
        self.calls.append("join")

    def terminate(self):
        self.calls.append("terminate")

    def kill(self):
        self.calls.append("kill")


def test_a_run_waits_for_those_it_needs_while_they_wait_or_run(tmp_path):
    first, second = job(tmp_path / "first"), job(tmp_path / "second", tmp_path / "first")
    assert _ready([second, first], {}) == [first]
    assert _ready([second], {0: (first, Ended())}) == []
    assert _ready([second], {}) == [second]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(-9, "ended by SIGKILL, as .* memory"), (-11, "SIGSEGV"), (3, "with code 3")],
)
def test_a_process_that_could_not_report_its_end_is_reported(tmp_path, code, reason):
    process = Ended(code)
    assert not _was_stopped(process)
    _end(job(tmp_path), process)
    assert re.search(reason, read_error(tmp_path))


def test_the_error_that_a_run_noted_stays(tmp_path):
    note_error(tmp_path, "no such bank")
    _end(job(tmp_path), Ended(1))
    assert read_error(tmp_path) == "no such bank"
    _end(job(tmp_path / "good"), Ended(0))
    assert read_error(tmp_path / "good") is None


@pytest.mark.parametrize("code", [75, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT])
def test_one_that_was_stopped_is_no_crash(code):
    assert _was_stopped(Ended(code))


def test_all_are_stopped_and_waited_for(tmp_path):
    processes = [Ended(), Ended()]
    _stop({place: (job(tmp_path), process) for place, process in enumerate(processes)})
    assert [process.calls for process in processes] == [["terminate", "join"]] * 2


def test_a_second_ctrl_c_ends_those_that_do_not_stop(tmp_path):
    deaf, other = Ended(), Ended()

    def join():
        raise KeyboardInterrupt

    deaf.join = join
    with pytest.raises(KeyboardInterrupt):
        _stop({0: (job(tmp_path), deaf), 1: (job(tmp_path), other)})
    assert (deaf.calls[-1], other.calls[-1]) == ("kill", "kill")


def test_runs_that_were_stopped_are_counted_by_what_they_have_left(tmp_path):
    jobs = [job(tmp_path / name) for name in ("done", "crashed", "saved", "nothing")]
    for name in ("done", "crashed", "saved"):
        (tmp_path / name).mkdir()
    for name in ("done/summary.json", "done/checkpoint.pt", "saved/checkpoint.pt"):
        (tmp_path / name).touch()
    note_error(tmp_path / "crashed", "no such bank")
    trials = [each.trial for each in jobs]
    assert _standing(trials).startswith("runs finished: 1 of 4, with a checkpoint: 1; run the same")


def test_a_stop_counts_the_runs_that_an_earlier_call_has_finished(tmp_path, monkeypatch):
    finished, left = job(tmp_path / "finished"), job(tmp_path / "left")
    finished.trial.folder.mkdir()
    (finished.trial.folder / "summary.json").touch()
    process = Ended(-signal.SIGTERM)
    process.sentinel, process.is_alive = 0, lambda: False
    monkeypatch.setattr(processes, "_start", lambda *_: process)
    monkeypatch.setattr(processes, "wait", lambda *_: None)
    trials = [finished.trial, left.trial]
    with pytest.raises(Interrupted, match="runs finished: 1 of 2, with a checkpoint: 0; run the"):
        run_apart([left], 1, print, trials=trials)


def test_a_process_sees_one_of_the_accelerators_that_this_one_sees(monkeypatch):
    def seen():
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with _visible(1):
        assert seen() == "7"
    assert seen() == "4,7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with _visible(1):
        assert seen() == "1"
    with _visible(None):
        assert seen() is None
    assert seen() is None


def test_a_run_in_a_process_of_its_own_leaves_its_log_and_its_error(tmp_path):
    lines = []
    needy = job(tmp_path / "run", tmp_path / "teacher")
    run_apart([needy], 1, lines.append, trials=[needy.trial])
    assert lines == [f"row, seed 3: needs {tmp_path / 'teacher'}, which has no result"]
    assert (tmp_path / "run" / LOG).exists()
