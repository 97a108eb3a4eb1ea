"""A file that is read here and there, and never from mapped memory."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_descriptor


class RandomAccessFile:
    """A file whose bytes are read by their offset, the same in all processes.

    Bytes are not taken from mapped memory: where a mapped file is cut while it is in use, the
    system ends the process without a word. Each process that unpickles it opens it anew.

    Args:
        path: The file.

    Attributes:
        path: The same.
        size: Its bytes when it was first opened.

    Raises:
        FacedistillError: If it is no regular file or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self.size = os.fstat(self._open()).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes.

        Raises:
            FacedistillError: If they are not there any more, or the system does not give them.
        """
        try:
            content = os.pread(self._opened(), min(length, self.size), offset)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(content) < length:
            raise self._changed()
        return content

    def read_rows(self, offset: int, row: np.dtype, rows: np.ndarray) -> np.ndarray:
        """Return rows of a table that is stored row after row; neighbours are read at once.

        Args:
            offset: Where row 0 begins.
            row: What a row is; its shape is that of the rows.
            rows: int64 (B,), not negative.

        Returns:
            (B, ...) as stored; not to be written to.

        Raises:
            FacedistillError: As of `read`.
        """
        follows = rows[1:] == rows[:-1] + 1
        if not follows.any():
            return self._scattered_rows(offset, row, rows)
        table = np.empty(len(rows), row)
        content, size = table.reshape(-1).view(np.uint8).data, row.itemsize
        bounds = [0, *(np.flatnonzero(~follows) + 1).tolist(), len(rows)]
        for begin, end in itertools.pairwise(bounds):
            self._read_into(content[begin * size : end * size], offset + int(rows[begin]) * size)
        return table

    def read_here_and_there(self) -> None:
        """Keep the system from reading ahead: small rows far from each other are wanted."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._opened(), 0, 0, os.POSIX_FADV_RANDOM)

    def check(self) -> None:
        """Require that the file is as long as it was.

        Raises:
            FacedistillError: If it is not.
        """
        if os.fstat(self._opened()).st_size != self.size:
            raise self._changed()

    def close(self) -> None:
        """Close the file; it is opened again when next read."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}

    def _scattered_rows(self, offset: int, row: np.dtype, rows: np.ndarray) -> np.ndarray:
        file, size = self._opened(), row.itemsize
        places = (offset + rows * size).tolist()
        try:
            content = b"".join([os.pread(file, size, place) for place in places])
        except OSError as error:
            raise self._unreadable(error) from error
        if len(content) < size * len(places):
            raise self._changed()
        kind, shape = row.subdtype or (row, ())
        return np.frombuffer(content, kind).reshape(len(places), *shape)

    def _read_into(self, content: memoryview, offset: int) -> None:
        """Fill memory; a system gives at most some 2 GiB at once."""
        try:
            while content:
                got = os.preadv(self._opened(), [content], offset)
                if not got:
                    raise self._changed()
                content, offset = content[got:], offset + got
        except OSError as error:
            raise self._unreadable(error) from error

    def _opened(self) -> int:
        if self._file is None:
            self._open()
            self.check()
        assert self._file is not None
        return self._file

    def _open(self) -> int:
        try:
            self._file = open_descriptor(self.path)
        except OSError as error:
            raise self._unreadable(error) from error
        return self._file

    def _unreadable(self, error: OSError) -> FacedistillError:
        return FacedistillError(f"cannot read {self.path}: {error.strerror or error}")

    def _changed(self) -> FacedistillError:
        return FacedistillError(f"{self.path}: the file changed while in use; start again")
