"""Jobs done ahead by worker processes, with the results in order.

Each worker has a socket of its own and shares no lock with others: one that dies is noticed at its
next result, and hinders nobody. `result_transport` has the way of a result.
"""

from __future__ import annotations

import os
import pickle
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from multiprocessing import Pipe, Process, parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import torch
from threadpoolctl import threadpool_limits

from facedistill.core.errors import FacedistillError
from facedistill.core.process import exit_reason, free_memory
from facedistill.core.signals import leave_signals_to_parent, start_worker
from facedistill.data.loading.result_transport import pickled, receive, send, unpickled

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 4
"""Most jobs that wait or are done for each worker."""

_SHARE_OF_MEMORY = 0.25
"""Of the memory that is free, what results may take that nobody has asked for yet."""
_JOBS_BYTES = 1 << 16
"""Bytes of jobs that wait in a socket, whose buffer is larger: nobody waits to hand one out."""
_PATIENCE = 5.0
"""Seconds for a killed process to end."""


class WorkerLost(FacedistillError):
    """A worker process has ended in the middle of its work."""


def in_workers(
    task: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result, None, None]:
    """Give `task(job)` for every job, in order.

    Args:
        task: What to do; it runs in a worker, so it must not change anything here. Its errors are
            raised here, at their job's place.
        jobs: What to do it with.
        workers: Processes; 0 does everything in this one.

    Yields:
        The results. Who stops early closes it, which ends the workers at once.

    Raises:
        WorkerLost: If a worker was killed, as the system does where memory runs out, or crashed.
    """
    started = _start(task, workers)
    if not started:
        yield from map(task, jobs)
        return
    owner = os.getpid()
    try:
        yield from _Pool[Job, Result](started).run(jobs)
    finally:
        if os.getpid() == owner:  # A fork has its parent's objects, and no business with them.
            _end(started)


class _Pool(Generic[Job, Result]):
    """Workers, and how many jobs each may have ahead."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self.workers = workers
        # Of what results take nothing is known yet.
        self.ahead, self.largest = 1, 1

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        waiting = map(pickle.dumps, jobs)
        order: deque[_Worker] = deque()
        turns = cycle(self.workers)
        turn, job = next(turns), next(waiting, None)
        while job is not None or order:
            while job is not None and turn.takes(job, self.ahead):
                turn.hand(job)
                order.append(turn)
                turn, job = next(turns), next(waiting, None)
            size, result = order.popleft().result()
            self._measure(size)
            if isinstance(result, _Raised):
                raise result.error
            yield result

    def _measure(self, size: int) -> None:
        """Let no more be done ahead than there is memory for."""
        if size > self.largest or self.ahead == 1:
            self.largest = max(size, self.largest)
            room = free_memory() * _SHARE_OF_MEMORY / (self.largest * len(self.workers))
            self.ahead = max(1, min(AHEAD, int(room)))


class _Worker:
    """A worker process, as its parent sees it."""

    def __init__(self, process: Process, channel: Connection) -> None:
        self.process, self.channel = process, channel
        self.jobs: deque[int] = deque()  # Bytes of each that it has not answered.

    def takes(self, job: bytes, ahead: int) -> bool:
        if not self.jobs:
            return True
        return len(self.jobs) < ahead and sum(self.jobs) + len(job) <= _JOBS_BYTES

    def hand(self, job: bytes) -> None:
        self.jobs.append(len(job))
        with suppress(ConnectionError):  # One that has died is met at its next result.
            self.channel.send_bytes(job)

    def result(self) -> tuple[int, Any]:
        """Return the bytes of the next result, and the result."""
        self.jobs.popleft()
        try:
            return receive(self.channel)
        except (EOFError, ConnectionError):
            self.process.join(_PATIENCE)
            raise WorkerLost(
                f"a process that reads images {exit_reason(self.process.exitcode)}: take fewer "
                "workers (data.workers, --workers), and run the same command again"
            ) from None


class _Raised(NamedTuple):
    """What a task has raised."""

    error: Exception


def _start(task: Callable[[Any], Any], wanted: int) -> list[_Worker]:
    """Start workers: as many as the system gives."""
    workers: list[_Worker] = []
    try:
        for _ in range(wanted):
            own_end, worker_end = Pipe()
            process = Process(target=_serve, args=(worker_end, task), daemon=True)
            with worker_end:
                start_worker(process)
            workers.append(_Worker(process, own_end))
    except OSError as error:
        warnings.warn(
            f"{len(workers)} of {wanted} processes that read images can be started "
            f"({error.strerror or error}): reading goes on with those",
            stacklevel=3,
        )
    except BaseException:
        _end(workers)
        raise
    return workers


def _end(workers: Sequence[_Worker]) -> None:
    """End workers, which have nothing to lose."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join(_PATIENCE)
        worker.channel.close()


def _serve(channel: Connection, task: Callable[[Any], Any]) -> None:
    """Do jobs, one after the other, until nobody asks any more."""
    leave_signals_to_parent()
    # One thread each, or those of torch, OpenCV and BLAS fight over the cores.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    threadpool_limits(1)
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            send(channel, _frames_of(task, channel.recv()))


def _end_with_parent() -> None:
    """Leave when the parent was killed: other workers may hold its end of the socket."""
    parent = parent_process()
    assert parent is not None
    while os.getppid() == parent.pid:
        time.sleep(1)
    wait([parent.sentinel])  # What a fork server has started never was its parent's child.
    os._exit(1)


def _frames_of(task: Callable[[Any], Any], job: Any) -> list[memoryview]:
    """Return the pickled result of a job, and the memory of arrays in it."""
    try:
        return pickled(task(job))
    except MemoryError:
        return pickled(
            _Raised(
                FacedistillError(
                    "memory has run out in a process that reads images: take fewer workers "
                    "(data.workers, --workers), or a smaller batch"
                )
            )
        )
    except Exception as error:
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        with suppress(Exception):  # Some errors cannot be pickled, or not read again.
            frames = pickled(_Raised(error))
            unpickled(frames)
            return frames
        return pickled(_Raised(RuntimeError(traceback.format_exc())))
