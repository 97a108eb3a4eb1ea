"""By what a figure of facedistill is told from any other image of that name."""

from __future__ import annotations

from pathlib import Path

from facedistill.core.regular_files import open_regular

SOFTWARE = "facedistill"
"""What a figure's PNG file says that it was made with."""

_HEAD = 1024


def is_own_figure(path: str | Path) -> bool:
    """Whether a file is a figure that facedistill drew.

    Raises:
        FacedistillError: If it is no regular file.
        OSError: If it cannot be read.
    """
    with open_regular(path) as file:
        return b"tEXtSoftware\0" + SOFTWARE.encode() in file.read(_HEAD)


def free_figure(path: Path) -> Path:
    """Return where a figure may be written: a numbered name where another image has this one."""
    number, place = 1, path
    while place.exists() and not is_own_figure(place):
        number += 1
        place = path.with_stem(f"{path.stem}-{number}")
    return place
