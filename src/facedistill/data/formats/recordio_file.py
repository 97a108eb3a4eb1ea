"""A RecordIO file, open for reading here and there."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import require_regular


class RecordFile:
    """A file whose bytes are read by their offset, the same in all processes.

    Bytes are not taken from mapped memory: where a mapped file is cut while it is in use, the
    system ends the process without a word. Each process that unpickles it opens it anew.

    Args:
        path: The file.

    Attributes:
        path: The same.
        size: Its bytes when it was first opened.

    Raises:
        FacedistillError: If it is empty or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self.size = os.fstat(self._open()).st_size
        if not self.size:
            raise FacedistillError(f"{path}: the file has zero bytes; get it again")

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes.

        Raises:
            FacedistillError: If they are not there any more, or the system does not give them.
        """
        try:
            content = os.pread(self._opened(), min(length, self.size), offset)
        except OSError as error:
            raise FacedistillError(f"cannot read {self.path}: {error.strerror or error}") from error
        if len(content) < length:
            raise self._changed()
        return content

    def mapped(self) -> mmap.mmap:
        """Map the whole file into memory, for one look at all of it; see `check`."""
        self.check()
        return mmap.mmap(self._opened(), self.size, access=mmap.ACCESS_READ)

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

    def _opened(self) -> int:
        if self._file is None:
            self._open()
            self.check()
        assert self._file is not None
        return self._file

    def _open(self) -> int:
        require_regular(self.path)
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise FacedistillError(f"cannot read {self.path}: {error.strerror or error}") from error
        return self._file

    def _changed(self) -> FacedistillError:
        return FacedistillError(f"{self.path}: the file changed while in use; start again")
