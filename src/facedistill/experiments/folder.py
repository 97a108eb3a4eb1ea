"""A run's folder: claimed by one process at a time, holding everything to repeat the run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from facedistill.core.atomic import folder_for
from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import append_regular
from facedistill.report.figures.figure_mark import is_own_figure

LAST = "last.safetensors"
SUMMARY = "summary.json"
ERROR = "error.json"
RECIPE = "recipe.yaml"
BANK = "bank"

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
    behind. A folder that was made for it and is still empty goes away when the block fails.

    Raises:
        FacedistillError: If another process holds it, or it cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_for(folder))
            lock = stack.enter_context(_locked(folder / ".lock"))
        except OSError as error:
            raise FacedistillError(f"cannot write to {folder}: {error.strerror}") from error
        _held.add(lock)
        try:
            yield
        finally:
            _held.discard(lock)


@contextmanager
def _locked(path: Path) -> Iterator[TextIO]:
    """Hold a lock file, which goes away with the lock."""
    while True:
        with append_regular(path) as lock:
            if lock.tell():
                raise FacedistillError(
                    f"{path} is there already and is no lock of facedistill: choose another --out"
                )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FacedistillError(
                    f"{path.parent} is in use by another facedistill: wait for it, or choose "
                    "another --out"
                ) from None
            except OSError:
                pass  # A file system without locks: nothing tells of the other process.
            if not _is_at(lock, path):
                continue  # Its holder has removed it before it was locked here.
            try:
                yield lock
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def figures_of(folder: Path) -> dict[str, Path]:
    """Return the figures that a run has left in its folder, by what they are called.

    Images that the user has put there are none.
    """
    return {
        path.stem.replace("_", " "): path
        for path in sorted(folder.glob("*.png"))
        if path.is_file() and is_own_figure(path)
    }
