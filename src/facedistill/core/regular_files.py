"""Input files: only regular ones are read, so that no pipe, device or socket is waited for."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import TextIO

from facedistill.core.errors import FacedistillError

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def require_regular(path: str | Path) -> None:
    """Refuse a pipe, a device, a socket, a folder, or a link to one, before it is opened.

    What is not there at all, or may not be looked at, passes: opening it says why.

    Raises:
        FacedistillError: If something is there that is no regular file.
    """
    try:
        _require_regular(path, os.stat(path).st_mode)  # noqa: PTH116 (called for every image)
    except (OSError, ValueError):
        return


def require_no_device(path: str | Path) -> None:
    """Refuse a pipe, a device or a socket; a folder, a file or nothing passes.

    Raises:
        FacedistillError: If it is one.
    """
    if not os.path.isdir(path):  # noqa: PTH112 (takes any text for a path)
        require_regular(path)


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a regular file for reading; nothing else is waited for.

    Raises:
        FacedistillError: If it is no regular file.
        OSError: If it cannot be opened.
        ValueError: If no file can have that name.
    """
    return open(path, "rb", opener=lambda name, _: open_descriptor(name))


def open_descriptor(path: str | Path) -> int:
    """Open a regular file for reading and return its descriptor; see `open_regular`.

    Raises:
        FacedistillError: If it is no regular file.
        OSError: If it cannot be opened.
        ValueError: If no file can have that name.
    """
    try:
        # Opening a pipe would else wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # A socket cannot even be opened.
        require_regular(path)
        raise
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
    except FacedistillError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular_text(path: str | Path, errors: str = "strict") -> str:
    """Return the text of a regular file in UTF-8.

    Args:
        path: The file.
        errors: What to do with bytes that are none, as for `bytes.decode`.

    Raises:
        FacedistillError: If it is no regular file.
        OSError: If it cannot be read.
        ValueError: If it is no UTF-8 text, or no file can have that name.
    """
    with open_regular(path) as file:
        return file.read().decode("utf-8", errors)


def append_regular(path: str | Path) -> TextIO:
    """Open a regular file to write at its end; it is made where there is none.

    Raises:
        FacedistillError: If something else is there.
        OSError: If it cannot be opened.
    """
    require_regular(path)
    return open(path, "a", buffering=1, encoding="utf-8")


def read_regular(path: str | Path, limit: int | None = None) -> bytes:
    """Return a regular file's bytes.

    Args:
        path: The file.
        limit: Most bytes that it may have.

    Raises:
        FacedistillError: If it is no regular file, is larger, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise FacedistillError(f"{path} has {size:,} bytes, at most {limit:,} are read")
            return file.read()
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FacedistillError(f"cannot read {path}: {error}") from error


def _require_regular(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise FacedistillError(f"{path} is {kind}, not a file; give a regular file")
