import errno
import itertools
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.signals import STOP_SIGNALS
from facedistill.data.batch import Batch
from facedistill.data.loading import result_transport, worker_processes
from facedistill.data.loading.worker_processes import AHEAD, WorkerLost, in_workers

LARGE = 100_000


def squared(number):
    return number * number


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_results_come_in_the_order_of_jobs(workers, count):
    assert list(in_workers(squared, range(count), workers)) == [n * n for n in range(count)]


def batch(seed):
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (5, 32, 32, 3), np.uint8))
    return Batch(
        images=images,
        labels=torch.arange(seed, seed + 5),
        flipped=torch.tensor([True, False, True, False, True]),
        keys=rng.integers(0, 256, (5, 16), np.uint8),
        landmarks=torch.full((5, 5, 2), 0.25),
        skipped=["image 3"],
    )


@pytest.mark.parametrize("memory", [True, False])
def test_batches_arrive_as_they_were_and_can_be_written_to(monkeypatch, memory):
    if not memory:
        monkeypatch.setattr(result_transport, "_in_memory", lambda frames: None)
    for seed, arrived in enumerate(in_workers(batch, range(6), 2)):
        expected = batch(seed)
        for name in ("images", "labels", "flipped", "landmarks"):
            assert torch.equal(getattr(arrived, name), getattr(expected, name)), name
            assert getattr(arrived, name).dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(arrived.keys, expected.keys)
        assert (arrived.clean, arrived.skipped) == (None, expected.skipped)
        arrived.images[0] = 0
        arrived.keys[0] = 0


def mapped_files(_):
    return np.zeros(LARGE, np.uint8), Path("/proc/self/maps").read_text()


def test_nothing_goes_through_the_shared_memory_that_containers_limit():
    before = mapped_files(0)[1].count("/dev/shm")
    kept = list(in_workers(mapped_files, range(4), 2))
    after = mapped_files(0)[1]
    assert "memfd:facedistill" in after
    assert [maps.count("/dev/shm") for maps in (after, *(maps for _, maps in kept))] == 5 * [before]


def test_a_system_without_anonymous_memory_hands_over_all_the_same(monkeypatch):
    def refuse(name):
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(os, "memfd_create", refuse)
    done = list(in_workers(lambda n: np.full(LARGE, n), range(3), 2))
    assert [int(each[-1]) for each in done] == [0, 1, 2]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "was ended by SIGKILL, as the system does where memory runs out"),
        (signal.SIGUSR1, "was ended by SIGUSR1: "),
    ],
)
def test_a_worker_that_dies_is_one_line_at_its_place(number, reason):
    def die_at_three(job):
        if job == 3:
            os.kill(os.getpid(), number)
        return job

    done = in_workers(die_at_three, range(20), 2)
    assert list(itertools.islice(done, 3)) == [0, 1, 2]
    with pytest.raises(WorkerLost, match=reason) as lost:
        next(done)
    assert "take fewer workers (data.workers, --workers)" in str(lost.value)


def test_workers_leave_the_signals_of_their_group_to_the_parent():
    def signal_itself(job):
        for number in STOP_SIGNALS:
            os.kill(os.getpid(), number)
        return job

    assert list(in_workers(signal_itself, range(4), 2)) == [0, 1, 2, 3]


def test_one_that_stops_early_ends_the_workers_at_once():
    def pid_then_nothing(job):
        if job:
            signal.pause()
        return os.getpid()

    done = in_workers(pid_then_nothing, range(9), 1)
    pid = next(done)
    done.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


class Unpicklable(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FacedistillError("image 3 is broken"), FacedistillError, "image 3 is broken"),
        (KeyError("name"), KeyError, "name"),
        (Unpicklable("a", "b"), RuntimeError, "a and b"),
        (MemoryError(), FacedistillError, "memory has run out .* take fewer workers"),
    ],
)
def test_errors_of_the_task_are_raised_here(error, kind, message):
    def fail(job):
        raise error

    with pytest.raises(kind, match=message):
        list(in_workers(fail, range(3), 1))


def test_a_machine_that_gives_fewer_processes_is_served_with_a_warning(monkeypatch):
    start, started = worker_processes.Process.start, []

    def start_one(process):
        if started:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(process)
        start(process)

    monkeypatch.setattr(worker_processes.Process, "start", start_one)
    with pytest.warns(UserWarning, match="1 of 3 processes .*Resource temporarily unavailable"):
        assert list(in_workers(squared, range(5), 3)) == [0, 1, 4, 9, 16]
    with pytest.warns(UserWarning, match="0 of 3 processes"):
        assert list(in_workers(squared, range(5), 3)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize(("results", "ahead"), [(0.5, 1), (8, 1), (24, 3), (1000, AHEAD)])
def test_as_much_is_done_ahead_as_memory_has_room_for(monkeypatch, results, ahead):
    """With room for so many results of two workers in the share of memory that they may take."""
    free = int(results * LARGE / worker_processes._SHARE_OF_MEMORY)
    monkeypatch.setattr(worker_processes, "free_memory", lambda: free)
    pool = worker_processes._Pool([object()] * 8)
    pool._measure(LARGE)
    assert pool.ahead == ahead


def test_jobs_larger_than_a_sockets_buffer_are_handed_out():
    jobs = [list(range(n, n + 200_000)) for n in range(6)]
    assert list(in_workers(sum, jobs, 2)) == [sum(job) for job in jobs]


def test_workers_start_from_any_thread():
    found = []
    thread = threading.Thread(target=lambda: found.extend(in_workers(squared, range(4), 2)))
    thread.start()
    thread.join()
    assert found == [0, 1, 4, 9]
