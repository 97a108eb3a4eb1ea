"""What a user named and is not there: refused by its name, with what is called similarly."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean


def require_present(*sources: str | Path | None) -> None:
    """Refuse the path of something that is not there, before anything heavy is imported.

    Args:
        *sources: What a user named; None, and what has a colon (`procedural:...`, `FOLDER:LIST`,
            another specification), passes.

    Raises:
        FacedistillError: If nothing is there; a similar name beside it is named.
    """
    for source in sources:
        if source is None or ":" in str(source):
            continue
        try:
            os.stat(source)  # noqa: PTH116 (takes any text for a path)
        except (FileNotFoundError, NotADirectoryError):
            raise missing(source) from None
        except (OSError, ValueError):
            continue  # Opening it says why.


def missing(source: str | Path) -> FacedistillError:
    """Return the error that says that nothing is there, and names what is called similarly."""
    path = absent = Path(source)
    while not absent.parent.is_dir() and absent.parent != absent:
        absent = absent.parent
    hint = "check the name"
    try:
        names = [entry.name for entry in islice(absent.parent.iterdir(), 10_000)]
        close = did_you_mean(absent.name, names)
    except OSError:
        close = ""
    if close.startswith("did you mean"):
        hint = f"in {absent.parent}, {close}"
    return FacedistillError(f"{path}: no such file or folder; {hint}")
