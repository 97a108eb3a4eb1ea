"""Copies of files in memory, for libraries that map what they read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from facedistill.core.regular_files import open_regular

_NO_ROOM = (errno.EFBIG, errno.ENOMEM, errno.ENOSPC)


@contextmanager
def private_copy(path: Path) -> Iterator[str]:
    """Copy a file into memory that no other program can cut, for as long as the block lasts.

    A library that maps a file which is cut while it reads ends the process without a word.

    Args:
        path: The file.

    Yields:
        The path of the copy; of the file itself where the system has no anonymous memory, or not
        enough.

    Raises:
        FacedistillError: If it is no regular file.
        OSError: If it cannot be read.
    """
    with open_regular(path) as file:
        if not hasattr(os, "memfd_create"):
            yield str(path)
            return
        with open(os.memfd_create("facedistill"), "wb", buffering=0) as copy:
            yield f"/proc/self/fd/{copy.fileno()}" if _copied(file, copy) else str(path)


def _copied(file: BinaryIO, copy: RawIOBase) -> bool:
    """Whether there was room for all of a file."""
    try:
        shutil.copyfileobj(file, copy, 1 << 20)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
    return os.fstat(copy.fileno()).st_size == os.fstat(file.fileno()).st_size
