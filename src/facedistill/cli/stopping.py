"""What a command that is asked to stop says of its work."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from facedistill.core.atomic import watch
from facedistill.core.signals import stoppable

AGAIN = "run the same command again"


def stopped_as(standing: Callable[..., Callable[[], str]]) -> Callable[..., Callable[..., None]]:
    """Let a command leave at once when a signal comes.

    Args:
        standing: Takes the command's arguments by name, before it runs; returns what says in one
            line where its work stands.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**arguments: Any) -> None:
            with stoppable(standing(**arguments)):
                command(**arguments)

        return run

    return decorate


def files_written(*folders: Path) -> Callable[[], list[Path]]:
    """Return what gives the files in folders that were written since this call."""

    def files() -> dict[Path, tuple[int, int]]:
        found = [each for folder in folders for each in folder.glob("[!.]*") if each.is_file()]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    before = files()
    return lambda: [path for path, identity in files().items() if before.get(path) != identity]


def written_or_not(out: Path, made: Path | None = None) -> Callable[[], str]:
    """Return what says whether an output, which appears whole or not at all, is written.

    Args:
        out: Its name in the message.
        made: The file or folder that appears last; `out` by default.
    """
    written = watch(out if made is None else made)

    def standing() -> str:
        if written():
            return f"stopped, {out} is written"
        return f"stopped, {out} is not written: {AGAIN}"

    return standing
