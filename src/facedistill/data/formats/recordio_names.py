"""`train.names`: what the images of a RecordIO file were called, a line for each, in their order.

The format itself has no place for names; without them no report can name a photo.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import read_regular

_MOST_BYTES = 1 << 32


def names_file(path: Path) -> Path:
    """Return where the names of a `.rec` file's images lie."""
    return path.with_suffix(".names")


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write the names beside a `.rec` file; where no image has one, an earlier file goes.

    Args:
        path: The `.rec` file.
        names: One for each image; what would end a line in one becomes a blank.
    """
    if not any(names):
        names_file(path).unlink(missing_ok=True)
        return
    text = "".join(f"{' '.join(name.splitlines())}\n" for name in names)
    with atomic_path(names_file(path)) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))


class RecordNames:
    """The names beside a `.rec` file, read when one is first asked for.

    Args:
        path: The `.rec` file.
        count: How many images it has.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self._lines: tuple[bytes, np.ndarray] | None = None

    def name(self, index: int) -> str:
        """Return the name of image `index`; empty where there is none."""
        text, ends = self._read()
        if not len(ends):
            return ""
        start = ends.item(index - 1) + 1 if index else 0
        return text[start : ends.item(index)].decode("utf-8", "replace")

    def _read(self) -> tuple[bytes, np.ndarray]:
        """Return the text, and where each line ends; none where names are absent or do not fit."""
        if self._lines is None:
            self._lines = b"", np.zeros(0, np.int64)
            file = names_file(self.path)
            if file.exists():
                try:
                    text = read_regular(file, _MOST_BYTES)
                except FacedistillError as error:
                    warnings.warn(f"{error}: images go without names", stacklevel=4)
                    return self._lines
                ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
                if len(ends) == self.count:
                    self._lines = text, ends
                else:
                    warnings.warn(
                        f"{file} has {len(ends):,} lines for {self.count:,} images: they go "
                        "without names; pack the data again",
                        stacklevel=4,
                    )
        return self._lines
