"""Where an output may go: not among what is read."""

from __future__ import annotations

import os
from pathlib import Path

from facedistill.core.errors import FacedistillError


def require_outside(
    out: str | Path | None, *sources: str | Path | None, give: str = "--out"
) -> None:
    """Refuse an output in a folder of input, whose next reader would take it for a part of that.

    Args:
        out: File or folder to write; None passes.
        sources: What a user named to be read; all that is no folder passes.
        give: Option that names another place.

    Raises:
        FacedistillError: If `out` is one of the folders, or in one.
    """
    if out is None:
        return
    place = Path(out).resolve()
    for source in sources:
        if source is None or not os.path.isdir(source):  # noqa: PTH112 (takes any text for a path)
            continue
        folder = Path(source).resolve()
        if folder == place:
            raise FacedistillError(f"{out} is the folder that is read: give another {give}")
        if folder in place.parents:
            raise FacedistillError(
                f"{out} lies in {source}, which is read and would then hold what is written too: "
                f"give a {give} outside of it"
            )


def require_not_replaced(source: str | Path, out: str | Path) -> None:
    """Refuse to replace a folder that holds what is read.

    Raises:
        FacedistillError: If `source` is in `out`.
    """
    if os.path.exists(source) and Path(out).resolve() in Path(source).resolve().parents:  # noqa: PTH110
        raise FacedistillError(
            f"{source} is read and lies in {out}, which would be replaced: give another --out"
        )
