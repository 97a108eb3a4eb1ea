"""Folders for what lies on disk for a moment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facedistill.core.errors import FacedistillError

_FULL = 1 << 20
"""Free bytes below which a disk is what went wrong."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give an empty folder that goes away with all that it holds.

    Yields:
        A folder in the system's temporary one, which `TMPDIR` names.

    Raises:
        FacedistillError: If it cannot be written to; the message says that it is this folder.
    """
    folder = None
    try:
        with tempfile.TemporaryDirectory(prefix="facedistill-") as name:
            folder = Path(name)
            yield folder
    except OSError as error:
        elsewhere = error.filename is not None and str(folder) not in str(error.filename)
        if folder is not None and elsewhere:
            raise
        raise _refused(error.strerror or str(error)) from error
    except (FacedistillError, RuntimeError) as error:
        # What a converter says of a disk that is full is anything.
        if shutil.disk_usage(tempfile.gettempdir()).free < _FULL:
            raise _refused("No space left on device") from error
        raise


def _refused(reason: str) -> FacedistillError:
    return FacedistillError(
        f"cannot write to the temporary folder {tempfile.gettempdir()}: {reason}: set TMPDIR to a "
        "folder with more room"
    )
