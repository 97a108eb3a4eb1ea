"""Reading `.npy` files of numbers row by row, whatever is wrong with them."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from facedistill.core.errors import FacedistillError
from facedistill.core.random_access_file import RandomAccessFile

_MOST_HEADER = 16_384
"""NumPy reads headers of at most 10,000 bytes."""


class NpyFile:
    """A `.npy` file of numbers, open for reading; rows are read when they are asked for.

    Nothing in it can run code or claim more memory than it has bytes.

    Args:
        path: The file.

    Attributes:
        file: The file.
        shape: Of the array.
        dtype: Of its values.
        offset: Where the values begin.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no `.npy` of plain numbers, cut short or too long.
        FacedistillError: If it is no regular file or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        path.stat()
        self.file = RandomAccessFile(path)
        head = io.BytesIO(self.file.read(0, min(_MOST_HEADER, self.file.size)))
        try:
            version = npy.read_magic(head)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            self.shape, self._columns_first, self.dtype = read(head)
            self.offset = head.tell()
            size = math.prod(self.shape) * self.dtype.itemsize
            if self.dtype.hasobject or not self.dtype.itemsize or min(self.shape, default=0) < 0:
                raise ValueError(f"it holds {self.dtype} {self.shape}")
        except Exception as error:
            # NumPy parses the header with Python's own parser and lets through what that raises:
            # SyntaxError, TokenError, OverflowError, RecursionError, ...
            raise ValueError(" ".join(str(error).split())[:120]) from error
        surplus = self.file.size - self.offset - size
        if surplus:
            more = "more" if surplus > 0 else "fewer"
            raise ValueError(f"it has {abs(surplus)} bytes {more} than it should")

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Read rows.

        Args:
            rows: A slice, or int64 (B,) with numbers from 0 to len - 1.

        Returns:
            (B, ...) as stored.

        Raises:
            FacedistillError: If the file was cut since it was opened.
        """
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows of {self.file.path} are 0..{len(self) - 1}")
        if not self._columns_first:
            return self.file.read_rows(self.offset, np.dtype((self.dtype, self.shape[1:])), wanted)
        columns = np.empty((math.prod(self.shape[1:]), len(wanted)), self.dtype)
        for place, column in enumerate(columns):
            begin = self.offset + place * len(self) * self.dtype.itemsize
            column[:] = self.file.read_rows(begin, self.dtype, wanted)
        return columns.reshape(*self.shape[:0:-1], len(wanted)).T


Rows = NpyFile | np.ndarray
"""(N, ...) values in a file or in memory."""


def open_embeddings(path: Path) -> NpyFile:
    """Open a `.npy` file of embeddings.

    Args:
        path: The file.

    Returns:
        Floats (N, D), neither of them 0.

    Raises:
        FileNotFoundError: If there is no such file.
        FacedistillError: If it is damaged or holds something else.
    """
    try:
        opened = NpyFile(path)
    except ValueError as error:
        raise FacedistillError(f"{path} is no readable .npy file: {error}") from error
    if opened.ndim != 2 or opened.dtype.kind != "f" or 0 in opened.shape:
        raise FacedistillError(
            f"{path} holds {opened.dtype} {opened.shape}, not embeddings: floats (N, D)"
        )
    return opened
