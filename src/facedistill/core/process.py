"""What this process may use of the machine, and how it ends."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""
_MEMORY, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def usable_processors() -> list[int]:
    """Return the numbers of the logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cpus() -> int:
    """Return how many logical processors this process may use."""
    return len(usable_processors())


def exit_reason(code: int | None) -> str:
    """Return how a process has ended, in words that follow its name.

    Args:
        code: Its exit code, below 0 for a signal; None where it is not known.
    """
    if code is None or code >= 0:
        return f"has ended with code {code}"
    memory = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{memory}"


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, for the next step to use again.

    glibc gives every large buffer back to the system at once, and the system clears each page
    when it comes again. On a CPU each batch frees and takes the same buffers, a gigabyte of them
    in a training step: without that traffic a step is up to 1.4 times as fast. The peak of memory
    does not change; it is held until the process ends.

    Returns:
        Whether the allocator has these settings; others are left as they are.
    """
    # Imported where it is needed: every command starts by importing this file.
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = {_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1, _TOP_PAD: 1 << 28}
    return all(mallopt(*setting) for setting in settings.items())


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


def free_memory() -> int:
    """Return how many bytes this process and its children may still take, by what Linux says.

    That is what the machine has, or the container's limit leaves; files that are kept in memory
    count as free.
    """
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError, KeyError):
        free.append(_numbers(_MEMORY)["MemAvailable:"] * 1024)
    with suppress(OSError, ValueError, KeyError):
        limit = int((_CGROUP / "memory.max").read_text("ascii"))
        used = int((_CGROUP / "memory.current").read_text("ascii"))
        free.append(limit - used + _numbers(_CGROUP / "memory.stat")["inactive_file"])
    return max(0, min(free))


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers in a file of the kernel, by the word that begins their line."""
    lines = (line.split() for line in path.read_text("ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
