"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facedistill.core.errors import FacedistillError

_REMEDIES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT), ": free some space there, or write to another disk"
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), ": write to a folder that you may change"
    ),
}
"""What to do where the operating system refuses."""


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it onto `target` when the block succeeds.

    The data is flushed to disk before the rename, so that after a power cut the target is either
    the old file or the whole new one. When the block fails nothing is left behind. What a killed
    process left behind goes away when the same target is written again.

    Args:
        target: The file to be (re)placed. Its folder is created.

    Yields:
        A path in the same folder, with the same suffix, to write to.

    Raises:
        FacedistillError: If the operating system refuses the write (disk full, no permission).
    """
    target = Path(target)
    with _refused_as(target), folder_for(target.parent):
        _remove_leftovers(target)
        temporary, lock = _create_beside(target)
        try:
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            # Some writers put a file of their own, readable by nobody else, in its place.
            temporary.chmod(mode)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(lock)


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
    """Make a folder, and its parents; those that are empty go away again when the block fails."""
    missing = []
    for each in (folder, *folder.parents):
        if each.exists():
            break
        missing.append(each)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # Something is in it.
            for each in missing:
                each.rmdir()
        raise


@contextmanager
def _refused_as(target: Path) -> Iterator[None]:
    """Name what could not be written when the operating system refuses."""
    try:
        yield
    except OSError as error:
        reason, remedy = error.strerror or error, _REMEDIES.get(error.errno or 0, "")
        raise FacedistillError(f"cannot write {target}: {reason}{remedy}") from error


def require_absent(*targets: Path, overwrite: bool | None = None, give: str = "--out") -> None:
    """Refuse to write over what is there, unless that is asked for.

    Args:
        targets: Files or folders that will be written.
        overwrite: Whether it is asked for; None where it cannot be.
        give: Option that names another place.

    Raises:
        FacedistillError: Naming the first that is there.
    """
    remedy = f"give another {give}" + ("" if overwrite is None else ", or --overwrite")
    for target in targets:
        if not overwrite and os.path.lexists(target):
            raise FacedistillError(f"{target} is there already: {remedy}")


def watch(target: str | Path) -> Callable[[], bool]:
    """Return what tells whether a file or folder has been written since this call."""
    target = Path(target)

    def identity() -> tuple[int, int] | None:
        try:
            found = target.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    before = identity()
    return lambda: identity() != before


@contextmanager
def atomic_folder(target: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `target`; it takes `target`'s place when the block succeeds.

    A folder that is there stays as it is until then, and goes with all that it holds. When the
    block fails nothing is left behind. What a killed process left behind, `.NAME.facedistill-new`
    and `.NAME.facedistill-old`, goes away when the same target is written again.

    Args:
        target: The folder to be (re)placed. Its parents are created.

    Yields:
        An empty folder, hidden, to write into.

    Raises:
        FacedistillError: If the operating system refuses, or another process writes the target.
    """
    target = Path(target).resolve()
    temporary, old = (
        target.with_name(f".{target.name}.facedistill-{state}") for state in ("new", "old")
    )
    with _refused_as(target), folder_for(target.parent):
        temporary.mkdir(exist_ok=True)
        lock = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            lock_folder(lock, target)
            try:
                for left in (old, *temporary.iterdir()):
                    _remove(left)
                yield temporary
                if target.exists():
                    target.rename(old)
                try:
                    temporary.rename(target)
                except OSError:
                    old.rename(target)
                    raise
                _remove(old)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        finally:
            os.close(lock)


def lock_folder(lock: int, target: Path) -> None:
    """Take the lock of an output that is being made; it ends with the descriptor.

    Args:
        lock: Descriptor of the folder in which it is made.
        target: The output, for messages.

    Raises:
        FacedistillError: If another process has it.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FacedistillError(
            f"{target} is being written by another process: wait for it, or give another folder"
        ) from None
    except OSError:
        return  # A file system without locks: nothing tells of the other process.


def _remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _create_beside(target: Path) -> tuple[Path, int]:
    """Create an empty hidden file with the mode that any new file has here.

    Returns:
        Its path, and a descriptor whose lock says for as long as it is open that the file is in
        use.
    """
    path = target.with_name(f".{target.stem}-{secrets.token_hex(8)}{target.suffix}")
    lock = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    with suppress(OSError):  # A file system without locks keeps its leftovers.
        fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fstat(lock).st_nlink:
        return path, lock
    os.close(lock)  # Another process took it for a leftover before it was locked.
    return _create_beside(target)


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary files that no process holds any more: their writers were killed."""
    pattern = f".{glob.escape(target.stem)}-{'[0-9a-f]' * 16}{glob.escape(target.suffix)}"
    for path in target.parent.glob(pattern):
        with suppress(OSError):  # In use, gone meanwhile, or somebody else's.
            _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    lock = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(lock)
