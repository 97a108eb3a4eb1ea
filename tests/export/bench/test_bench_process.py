import os
import sys

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.export.bench.bench_process import Apart, Measured, Subject


def subject(tmp_path, engine="Engine"):
    return Subject(tmp_path / "notes.txt", ("tests.export.engines", engine), "numpy", 16)


@pytest.fixture
def apart():
    started = []

    def start(*arguments):
        started.append(Apart(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.end()
        assert not process._process.is_alive()


def test_a_fresh_process_is_pinned_warmed_up_and_timed(tmp_path, apart, capfd):
    cpus = sorted(os.sched_getaffinity(0))[:1] if hasattr(os, "sched_setaffinity") else None
    process = apart(subject(tmp_path), 1, cpus)
    process.wait()
    first, second = process.warm_up(1, 2), process.warm_up(3, 2)
    seconds = process.time(3, 4)
    notes = (tmp_path / "notes.txt").read_text().splitlines()
    assert notes[0] == f"threads 1 cpus {len(cpus) if cpus else None} gpus ''"
    # One call before those that are timed, in warming up too.
    assert notes[1:] == ["embed (1, 16, 16, 3)"] * 3 + ["embed (3, 16, 16, 3)"] * 8
    assert len(seconds) == 4
    assert all(each > 0 for each in seconds)
    if sys.platform == "linux":
        # Twenty megabytes a face, and what interpreter and allocator keep beside them.
        assert 20e6 <= first < 60e6
        assert 60e6 <= second < 120e6
    out, err = capfd.readouterr()
    assert out == ""
    assert "output of a runtime" in err


def test_the_peak_is_of_the_open_network_and_not_of_what_was_before(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if sys.platform != "linux" or not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the system does not report or clear a process's peak")
    bytearray(200_000_000)  # Comes and goes before the file is opened.
    grown = Measured(subject(tmp_path), 1).warm_up(1, 1)
    assert grown < 100e6


def test_what_cannot_be_opened_is_refused_with_the_reason(tmp_path, apart):
    with pytest.raises(FacedistillError, match=r"notes\.txt is damaged"):
        apart(subject(tmp_path, "Refusing"), 1, None).wait()


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("Broken", "notes.txt does not run: ValueError: shape"),
        ("Dying", "notes.txt: the process that measures it was ended by SIGKILL, as"),
    ],
)
def test_what_does_not_run_is_refused_at_every_call(tmp_path, apart, engine, reason):
    process = apart(subject(tmp_path, engine), 1, None)
    process.wait()
    with pytest.raises(FacedistillError, match=reason):
        process.warm_up(1, 1)
    with pytest.raises(FacedistillError, match="the process that measures it"):
        process.time(1, 1)


def test_ending_a_process_at_work_does_not_wait_for_it(tmp_path):
    process = Apart(subject(tmp_path), 1, None)
    process.wait()
    process._parent.send(("time", 1, 10**9))
    process.end()
    assert not process._process.is_alive()
