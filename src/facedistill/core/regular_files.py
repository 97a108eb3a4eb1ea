"""Input files: only regular ones are read, so that no pipe, device or socket is waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

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


def read_regular(path: str | Path, limit: int | None = None) -> bytes:
    """Return a regular file's bytes.

    Args:
        path: The file.
        limit: Most bytes that it may have.

    Raises:
        FacedistillError: If it is no regular file, is larger, or cannot be read.
    """
    try:
        # Opening a pipe would else wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            _require_regular(path, status.st_mode)
            if limit is not None and status.st_size > limit:
                raise FacedistillError(
                    f"{path} has {status.st_size:,} bytes, at most {limit:,} are read"
                )
            return file.read()
    except OSError as error:
        # The door: a socket cannot even be opened.
        require_regular(path)
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FacedistillError(f"cannot read {path}: {error}") from error


def _require_regular(path: str | Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise FacedistillError(f"{path} is {kind}, not a file; give a regular file")
