"""Ending in good order when the system or the user asks for it.

SIGTERM comes from `kill`, `timeout`, systemd and Slurm, SIGHUP from a terminal that is closed,
SIGINT from Ctrl-C; often they reach every process of a group. The one process that the user started
answers with `Interrupted`; those that work for it leave the signals to it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from typing import Protocol

from facedistill.core.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PAUSE = 2.0
"""Seconds in which further signals are those of one and the same request."""
_PATIENCE = 5.0
"""Seconds from the second Ctrl-C to the end of a process that does not answer."""


class _Answering:
    """The blocks of this module that are entered, and whether one is being left for a signal."""

    depth = 0
    leaving = False
    since = 0.0


class StopRequest:
    """Whether a signal to stop has come."""

    def __init__(self) -> None:
        self.received = False
        self._waiting = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Do not wait for the end of what may take any time, such as reading.

        Raises:
            Interrupted: As soon as a signal comes, or if one has come.
        """
        self._waiting = True
        try:
            self._raise_if_received()
            yield
        finally:
            self._waiting = False

    def _receive(self) -> None:
        self.received = True
        if self._waiting:
            self._raise_if_received()

    def _raise_if_received(self) -> None:
        if self.received:
            self._waiting = False
            raise Interrupted("stopped")


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turn signals into a request that a loop honours between two steps."""
    request = StopRequest()
    with _answered_by(request._receive):
        yield request
        # Whoever does not leave for a signal can be asked again.
        _Answering.leaving = False


@contextmanager
def stoppable(standing: Callable[[], str]) -> Iterator[None]:
    """Leave at once when a signal comes: for what can be stopped anywhere.

    Args:
        standing: Says in one line where the work stands, and what to do next.

    Raises:
        Interrupted: If a signal has come, whatever a library has made of that in between.
    """
    raised: list[Interrupted] = []

    def leave() -> None:
        raised.append(Interrupted(standing()))
        raise raised[-1]

    with _answered_by(leave):
        try:
            yield
        except Exception as error:
            if raised:
                raise raised[-1] from error
            raise
        if raised:
            raise raised[-1]


@contextmanager
def _answered_by(answer: Callable[[], None]) -> Iterator[None]:
    """Let a signal be answered so; a second Ctrl-C ends at once."""
    owner = os.getpid()

    def handle(number: int, frame: object) -> None:
        # A process that a library has forked has nobody to tell.
        if os.getpid() != owner or (_Answering.leaving and number == signal.SIGINT):
            raise KeyboardInterrupt
        now = time.monotonic()
        if not _Answering.leaving or now - _Answering.since > _PAUSE:
            _Answering.leaving, _Answering.since = True, now
            answer()

    # What runs under nohup outlives its terminal.
    wanted = [each for each in STOP_SIGNALS if not _outlives(each)]
    try:
        before = {number: signal.signal(number, handle) for number in wanted}
    except ValueError:  # not in the main thread, where signals cannot be taken
        yield
        return
    _Answering.depth += 1
    try:
        yield
    finally:
        _Answering.depth -= 1
        for number, old in before.items():
            signal.signal(number, old)
        if not _Answering.depth:
            _Answering.leaving = False


def _outlives(number: int) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold signals back while processes start: none meets one that cannot answer yet.

    A process that starts meanwhile inherits this, and calls `leave_signals_to_parent` or
    `take_signals` when it is ready.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker(Protocol):
    """A process that works for this one, as `multiprocessing` makes them."""

    @property
    def pid(self) -> int | None:
        """Its number; None before it is started."""

    def start(self) -> None:
        """Start it."""

    def kill(self) -> None:
        """End it."""


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
"""Those that this process has started."""
_ending: list[Finalize] = []
"""What ends them, once there is one."""
_BEFORE_WAITING = 0
"""From this priority on, what is to be done comes before `multiprocessing` waits for processes."""


def start_worker(process: Worker) -> None:
    """Start a process that leaves signals to this one, and goes when this one goes.

    `multiprocessing` asks processes that are left at the end to go by SIGTERM, which they ignore,
    and waits for them. One can be left where a signal came while it was started. Those of a process
    that is itself one of `multiprocessing`, as a run of a comparison, end with it too.

    Args:
        process: Begins with `leave_signals_to_parent`.
    """
    if not _ending:
        # `atexit` would not do: a process that `multiprocessing` started leaves without it.
        _ending.append(Finalize(None, _end_workers, exitpriority=_BEFORE_WAITING))
    _workers.add(process)
    with signals_blocked():
        process.start()


def _end_workers() -> None:
    for process in _workers:
        if process.pid is not None:
            process.kill()


def _forget_workers() -> None:
    """A forked process has started none."""
    _workers.clear()
    _ending.clear()


def leave_signals_to_parent() -> None:
    """Ignore signals in a process that works for another, which ends it by SIGKILL."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    take_signals()


def take_signals() -> None:
    """Let signals through that `signals_blocked` held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


@contextmanager
def ended_by_second_interrupt() -> Iterator[None]:
    """End the process at a second Ctrl-C even where it hangs in code that is not Python.

    Python answers signals between two of its own instructions only. A thread is told of them
    whatever the main thread does.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    with receiver, sender:
        before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=_end_at_second, args=(receiver.dup(),), daemon=True).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)


def _end_at_second(receiver: socket.socket) -> None:
    interrupts = 0
    with receiver:
        while interrupts < 2:
            numbers = receiver.recv(1)
            if not numbers:
                return
            interrupts += numbers[0] == signal.SIGINT
    time.sleep(_PATIENCE)
    os._exit(128 + signal.SIGINT)


def _forget_wakeup() -> None:
    """A forked process tells its parent's thread nothing."""
    with suppress(ValueError):  # not the main thread, which has none
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_wakeup)
os.register_at_fork(after_in_child=_forget_workers)
