"""A run's folder: claimed by one process at a time, holding everything to repeat the run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from facedistill.core.errors import FacedistillError

LAST = "last.safetensors"
SUMMARY = "summary.json"
ERROR = "error.json"
RECIPE = "recipe.yaml"
BANK = "bank"

_CAPTIONS = {
    "receptive_fields.png": "what each local centre looks at in teacher and student",
    "saliency.png": "where on the face the teacher's features are strong",
}
"""What known figures show; others are called by their file's name."""

_held: set[TextIO] = set()
"""Locks of the folders that this process holds."""


def _leave_to_parent() -> None:
    """Close the locks in a forked process: a loader worker outlives a killed run for seconds."""
    for lock in _held:
        lock.close()
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a run's folder.

    The lock belongs to the process and to none that it forks, so a killed one leaves no stale claim
    behind.

    Raises:
        FacedistillError: If another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise FacedistillError(f"cannot write to {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FacedistillError(
                f"{folder} is in use by another facedistill: wait for it, or choose another --out"
            ) from None
        _held.add(lock)
        try:
            yield
        finally:
            _held.discard(lock)


def figures_of(folder: Path) -> dict[str, Path]:
    """Return the figures that objectives have left in a run's folder, by what they show."""
    return {
        _CAPTIONS.get(path.name, path.stem.replace("_", " ")): path
        for path in sorted(folder.glob("*.png"))
    }
