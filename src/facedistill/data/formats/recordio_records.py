"""The records of a RecordIO file: their bytes, split or whole, and where each begins."""

from __future__ import annotations

import warnings
from array import array
from pathlib import Path
from struct import Struct

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import progress_bar
from facedistill.core.random_access_file import RandomAccessFile
from facedistill.core.regular_files import read_regular

MAGIC = 0xCED7230A
MAX_LENGTH = (1 << 29) - 1
"""Longest part of a record, in bytes."""
MAX_LABEL = 1 << 24
"""Labels are stored as float32, which counts without gaps up to here."""

MAGIC_BYTES = MAGIC.to_bytes(4, "little")
FRAME = Struct("<II")
"""Magic word; flag and length."""
HEADER = Struct("<IfQQ")
"""Number of vector labels, label, id, second id."""
START = Struct("<III")  # The frame and the number of vector labels.
FRAME_SIZE, HEADERS_SIZE = FRAME.size, FRAME.size + HEADER.size
WHOLE, FIRST, MIDDLE, LAST = range(4)
CHUNK = 1 << 16
_SLOW_BYTES = 1 << 32
"""From how many bytes on a scan shows a progress bar."""


def vector_labels(payload: bytes) -> int:
    """Return how many float labels stand before the image of a payload (0: a scalar label)."""
    return int.from_bytes(payload[:4], "little")


def open_records(path: Path) -> RandomAccessFile:
    """Open a `.rec` file.

    Raises:
        FacedistillError: If it is empty or cannot be read.
    """
    file = RandomAccessFile(path)
    if not file.size:
        raise FacedistillError(f"{path}: the file has zero bytes; get it again")
    return file


def join_record(file: RandomAccessFile, offset: int) -> tuple[bytes, int]:
    """Read one record, put together if it was split.

    Returns:
        (payload, offset just behind the record).

    Raises:
        ValueError: If there is no whole record at `offset`; the message says why.
    """
    parts: list[bytes] = []
    while True:
        flag, start, length = _part(file, offset)
        if (flag in (WHOLE, FIRST)) == bool(parts):
            raise ValueError("the parts of a split record are out of order")
        parts.append(file.read(start, length))
        offset = start + (length + 3 & ~3)
        if flag in (WHOLE, LAST):
            return MAGIC_BYTES.join(parts), offset


def _part(file: RandomAccessFile, offset: int) -> tuple[int, int, int]:
    """Return (flag, start, length) of the part of a record that begins at `offset`."""
    if not 0 <= offset <= file.size - FRAME.size:
        raise ValueError(f"it begins beyond the file's {file.size:,} bytes")
    magic, length = FRAME.unpack(file.read(offset, FRAME.size))
    if magic != MAGIC:
        raise ValueError(f"no record begins there (0x{magic:08x} instead of 0x{MAGIC:08x})")
    flag, length, start = length >> 29, length & MAX_LENGTH, offset + FRAME.size
    if flag > LAST:
        raise ValueError(f"its flag is {flag}, not 0 to 3")
    if start + (length + 3 & ~3) > file.size:
        raise ValueError(f"its {length:,} bytes reach beyond the file's {file.size:,}")
    return flag, start, length


def read_index(file: RandomAccessFile) -> tuple[np.ndarray, np.ndarray]:
    """Return (keys, offsets) in the order of the offsets, from the .idx or by scanning."""
    path = file.path
    index = path.with_suffix(".idx")
    if not index.exists():
        warnings.warn(
            f"{index} is missing: the records of {path.name} are counted anew from the first "
            "byte, in memory, each time it is opened",
            stacklevel=4,
        )
        offsets = _scan(file)
        return np.arange(len(offsets), dtype=np.int64), offsets
    keys, offsets = _parse_index(index)
    order = np.argsort(offsets, kind="stable")
    return keys[order], offsets[order]


def _scan(file: RandomAccessFile) -> np.ndarray:
    """Find every record from its predecessor's length; int64 offsets."""
    offsets, offset = array("q"), 0
    with progress_bar("B") as progress:
        task = progress.add_task(
            f"scanning {file.path.name}", total=file.size, note="", visible=file.size > _SLOW_BYTES
        )
        while offset < file.size:
            if not len(offsets) % CHUNK:
                progress.update(task, completed=offset)
            offsets.append(offset)
            offset = _end(file, offset)
        progress.update(task, completed=offset)
    return np.frombuffer(offsets, np.int64)


def _end(file: RandomAccessFile, offset: int) -> int:
    """Return the offset just behind the record at `offset`."""
    try:
        flag, start, length = _part(file, offset)
        return start + (length + 3 & ~3) if flag == WHOLE else join_record(file, offset)[1]
    except ValueError as error:
        raise FacedistillError(
            f"{file.path} offset {offset}: the record is damaged or cut short: {error}; get the "
            "file again"
        ) from error


def _parse_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read `key TAB offset` lines: (keys, offsets), int64."""
    text = read_regular(path).replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
    codes = np.frombuffer(text, np.uint8)
    separators = codes[codes < ord("0")]
    # Strictly `digits TAB digits LF`: numpy's parser would take other texts for numbers too.
    strict = (
        not text.translate(None, b"0123456789\t\n")
        and not len(separators) % 2
        and bool((separators.reshape(-1, 2) == (9, 10)).all())
        and b"\t\n" not in text
        and b"\n\t" not in text
        and not text.startswith(b"\t")
    )
    if not strict:
        raise FacedistillError(_bad_line(path, text))
    table = np.fromstring(text, dtype=np.int64, sep=" ").reshape(-1, 2)
    keys, counts = np.unique(table[:, 0], return_counts=True)
    if len(keys) != len(table):
        twice = int(keys[counts > 1][0])
        raise FacedistillError(
            f"{path}: key {twice} stands there more than once; remove the .idx to have it rebuilt"
        )
    return table[:, 0].copy(), table[:, 1].copy()


def _bad_line(path: Path, text: bytes) -> str:
    lines = text.split(b"\n")[:-1]
    number, line = next(
        (number, line)
        for number, line in enumerate(lines, start=1)
        if line.count(b"\t") != 1 or not all(field.isdigit() for field in line.split(b"\t"))
    )
    return (
        f"{path} line {number}: {line[:40].decode(errors='backslashreplace')!r} is not "
        "`key TAB offset`; remove the .idx to have it rebuilt"
    )
