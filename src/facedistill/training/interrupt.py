"""Leaving a run in good order when it is asked to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
    try:
        before = {
            number: signal.signal(number, request._receive)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
    except ValueError:  # not in the main thread, where signals cannot be taken
        yield request
        return
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
