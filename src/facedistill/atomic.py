"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facedistill.errors import FacedistillError


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it onto `target` when the block succeeds.

    The data is flushed to disk before the rename, so that after a power cut the target is either
    the old file or the whole new one. When the block fails nothing is left behind.

    Args:
        target: The file to be (re)placed. Its folder is created.

    Yields:
        A path in the same folder, with the same suffix, to write to.

    Raises:
        FacedistillError: If the operating system refuses the write (disk full, no permission).
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _create_beside(target)
    except OSError as error:
        raise FacedistillError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        # Some writers (safetensors) put a file of their own, readable by nobody else, in its place.
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise FacedistillError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _create_beside(target: Path) -> Path:
    """Create an empty hidden file with the mode that any new file has here."""
    path = target.with_name(f".{target.stem}-{secrets.token_hex(8)}{target.suffix}")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    return path
