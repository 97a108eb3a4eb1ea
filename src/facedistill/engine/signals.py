"""Leaving a run in good order when it is asked to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from facedistill.core.errors import Interrupted

Handler = Callable[[int, FrameType | None], None]
"""Takes a signal."""


class StopRequest:
    """Whether SIGTERM or SIGINT has come."""

    def __init__(self) -> None:
        self.received = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        # A second Ctrl-C should end a run that hangs.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a request that the loop honours between two steps."""
    request = StopRequest()
    with _handled_by(request._receive):
        yield request


@contextmanager
def stoppable(folder: Path) -> Iterator[None]:
    """Leave at once at SIGTERM and SIGINT: for what is done before and after the loop.

    Args:
        folder: Of the run.

    Raises:
        Interrupted: If one has come.
    """
    owner = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # A process that reads images only ends.
            raise KeyboardInterrupt
        raise Interrupted(
            f"stopped before training or after it, {folder} keeps what was saved: run the same "
            "command to go on"
        )

    with _handled_by(leave):
        yield


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    """Let SIGTERM and SIGINT be handled so meanwhile."""
    try:
        before = {
            number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)
        }
    except ValueError:  # not in the main thread, where signals cannot be taken
        yield
        return
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
