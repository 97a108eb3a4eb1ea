"""How one of several processes of a run ends."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def end_without_teardown() -> Iterator[None]:
    """Let one of several processes end without taking the interpreter down.

    A process group's threads outlive the group (PyTorch 2.13 keeps what DistributedDataParallel has
    seen), and one of them that asks for the interpreter while it goes aborts the process. What is
    registered to run at the end runs; the exit code is that of the `SystemExit` that comes through,
    1 of any other exception. A process alone ends as always.
    """
    code = [1]
    if os.environ.get("WORLD_SIZE", "1") != "1":
        atexit.register(_leave, code)  # First in, last out.
    try:
        yield
        code[0] = 0
    except SystemExit as end:
        code[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def _leave(code: list[int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code[0])
