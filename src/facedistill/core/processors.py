"""The processors that a process may use."""

from __future__ import annotations

import os


def usable_processors() -> list[int]:
    """Return the numbers of the logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cpus() -> int:
    """Return how many logical processors this process may use."""
    return len(usable_processors())
