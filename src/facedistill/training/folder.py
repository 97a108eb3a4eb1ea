"""A run's folder: claimed by one process at a time, holding everything to repeat the run."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facedistill.errors import FacedistillError

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
LAST = "last.safetensors"
SUMMARY = "summary.json"
RECIPE = "recipe.yaml"


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a run's folder.

    The lock belongs to the process, so a killed one leaves no stale claim behind.

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
        yield
