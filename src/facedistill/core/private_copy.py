"""Copies of files in memory, for libraries that map what they read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facedistill.core.regular_files import open_regular


@contextmanager
def private_copy(path: Path) -> Iterator[str]:
    """Copy a file into memory that no other program can cut, for as long as the block lasts.

    A library that maps a file which is cut while it reads ends the process without a word.

    Args:
        path: The file.

    Yields:
        The path of the copy; of the file itself where the system has no anonymous memory.

    Raises:
        FacedistillError: If it is no regular file.
        OSError: If it cannot be read.
    """
    with open_regular(path) as file:
        if not hasattr(os, "memfd_create"):
            yield str(path)
            return
        with open(os.memfd_create("facedistill"), "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            yield f"/proc/self/fd/{copy.fileno()}"
