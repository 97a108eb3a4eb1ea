"""What the headers of a RecordIO file say: labels, and whether the records tile the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.core.random_access_file import RandomAccessFile
from facedistill.core.regular_files import read_regular
from facedistill.data.formats.recordio_records import (
    CHUNK,
    FRAME,
    HEADER,
    MAGIC,
    MAX_LABEL,
    MAX_LENGTH,
    join_record,
)
from facedistill.data.labels import UNLABELLED

_FLOAT = Struct("<f")
_SLOW = 1 << 20
"""From how many records on a pass over the headers shows a progress bar."""
_AT_ONCE = 1 << 20
"""Headers within a block of so many bytes are read together."""


class Headers(NamedTuple):
    """What the headers of all records say, in the order of the offsets."""

    keys: np.ndarray
    offsets: np.ndarray
    vector: np.ndarray  # int64: how many float labels, 0 for a scalar one.
    label: np.ndarray  # float32: the scalar, or the first of the vector.
    content: np.ndarray  # int64: bytes behind the labels, the image.
    number: np.ndarray  # int64: the id that the record itself bears.

    def place(self, row: int | np.integer) -> str:
        """Return where a record is, for messages."""
        return f"key {self.keys[row]} (offset {self.offsets[row]})"


def read_headers(file: RandomAccessFile, keys: np.ndarray, offsets: np.ndarray) -> Headers:
    """Read every record's header and require that the records tile the file.

    Raises:
        FacedistillError: At the first record that is damaged or not followed by the next one.
    """
    path, count = file.path, len(offsets)
    if not count or offsets[0] != 0:
        raise FacedistillError(
            f"{path}: the .idx names no record at offset 0; remove the .idx to have it rebuilt"
        )
    kinds = (np.int64, "<f4", np.int64, np.int64)
    headers = Headers(keys, offsets, *(np.empty(count, kind) for kind in kinds))
    ends = np.append(offsets[1:], file.size)
    rows: Iterable[int] = range(0, count, CHUNK)
    if count > _SLOW:
        rows = track(
            rows, f"reading {path.name}", total=-(-count // CHUNK), unit="x 65,536 records"
        )
    for begin in rows:
        part = slice(begin, begin + CHUNK)
        plain, *values = _plain_headers(
            _first_words(file, offsets[part]), offsets[part], ends[part]
        )
        for column, value in zip(headers[2:], values, strict=True):
            column[part] = value
        for row in begin + np.flatnonzero(~plain):
            place = f"{path} {headers.place(row)}"
            header = _header(file, place, int(offsets[row]), int(ends[row]))
            for column, field in zip(headers[2:], header, strict=True):
                column[row] = field
    return headers


def _first_words(file: RandomAccessFile, offsets: np.ndarray) -> np.ndarray:
    """Return the first nine words of many records; zeros of those at strange places.

    Records near each other are read at once: a disk gives a megabyte in a row far sooner than it
    gives hundreds of small parts of it.

    Args:
        file: The file.
        offsets: int64 (B,), in order.

    Returns:
        int64 (B, 9), 32 bits each.
    """
    words = np.zeros((len(offsets), 9), np.int64)
    good = (offsets >= 0) & (offsets % 4 == 0) & (offsets <= file.size - 4 * words.shape[1])
    rows = np.flatnonzero(good)
    for group in np.split(rows, np.flatnonzero(np.diff(offsets[rows] // _AT_ONCE)) + 1):
        if len(group):
            places = offsets[group]
            first, end = int(places[0]), int(places[-1]) + 4 * words.shape[1]
            near = np.frombuffer(file.read(first, end - first), "<u4")
            words[group] = near[((places - first) // 4)[:, None] + np.arange(words.shape[1])]
    return words


def _plain_headers(words: np.ndarray, offsets: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    """Read many headers at once: [plain, vector, label, content, number].

    `plain` is True for unsplit, well-formed records that end where the next one begins; the other
    rows' values mean nothing.
    """
    magic, length, vector, label, number, number_high, _, _, first = words.T
    content = length - HEADER.size - 4 * vector
    plain = (
        (magic == MAGIC)
        & (length <= MAX_LENGTH)  # The flag is 0.
        & (offsets + FRAME.size + (length + 3 & ~3) == ends)
        & (content >= 0)
    )
    label = np.where(vector > 0, first, label).astype("<u4").view("<f4")
    return [plain, vector, label, content, number | number_high << 32]


def _header(
    file: RandomAccessFile, place: str, offset: int, end: int
) -> tuple[int, float, int, int]:
    """Read one record's (vector, label, content, number), whole or split, or say what is wrong."""
    try:
        payload, next_offset = join_record(file, offset)
        if next_offset != end:
            raise ValueError(f"it ends at {next_offset} but the next record begins at {end}")
        return _labels_of(payload)
    except ValueError as error:
        raise FacedistillError(
            f"{place}: the record does not fit: {error}; remove the .idx to have it rebuilt, or "
            "get the .rec again"
        ) from error


def _labels_of(payload: bytes) -> tuple[int, float, int, int]:
    """Return (number of vector labels, first label, image bytes, id) of a payload."""
    if len(payload) < HEADER.size:
        raise ValueError(f"its {len(payload)} bytes hold no header")
    vector, label, number, _ = HEADER.unpack_from(payload)
    content = len(payload) - HEADER.size - 4 * vector
    if content < 0:
        raise ValueError(f"its {vector:,} labels do not fit into {len(payload):,} bytes")
    if vector:
        (label,) = _FLOAT.unpack_from(payload, HEADER.size)
    # As NumPy reads it: ids from 2^63 on are negative.
    return vector, label, content, number - (number >> 63 << 64)


def image_records(path: Path, headers: Headers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (keys, offsets, int64 labels) of the records that are samples, in order of keys."""
    image = headers.content > 0
    summary = np.flatnonzero((headers.keys == 0) & ~image & (headers.vector == 2))
    strange = ~image
    if len(summary):
        count = _promised_images(path, headers, image, int(summary[0]))
        strange &= (headers.vector != 2) | (headers.keys <= count)
        strange[summary] = False
    if strange.any():
        place = headers.place(np.flatnonzero(strange)[0])
        raise FacedistillError(f"{path} {place}: the record holds no image; pack the set again")
    rows = np.flatnonzero(image)
    rows = rows[np.argsort(headers.keys[rows])]
    # Without .idx and record 0 keys are but positions, and ids may have had gaps from the start.
    if len(summary) or path.with_suffix(".idx").exists():
        _check_numbers(path, headers, rows)
    label = headers.label[rows]
    # NaN fails every comparison; beyond 2^24 neighbours share one float32.
    good = (label == np.round(label)) & (label >= UNLABELLED) & (label < MAX_LABEL)
    if not good.all():
        bad = int(np.flatnonzero(~good)[0])
        raise FacedistillError(
            f"{path} {headers.place(rows[bad])}: label {label[bad]:g} is no identity (an integer "
            f"from 0 to {MAX_LABEL - 1:,}, or -1); pack the set again"
        )
    return headers.keys[rows], headers.offsets[rows], label.astype(np.int64)


def _check_numbers(path: Path, headers: Headers, rows: np.ndarray) -> None:
    """Where records bear their keys as ids, as both packers write them, require it of each.

    Ids are known to be keys where most of them are, or half of them and no two are the same (as
    ids that nobody set are), or where they are the same numbers.
    """
    numbers, keys = headers.number[rows], headers.keys[rows]
    own = numbers == keys
    if own.all():
        return
    most = 2 * own.sum() > len(own)
    half = 2 * own.sum() == len(own) and len(np.unique(numbers)) == len(numbers)
    if not (most or half or np.array_equal(np.sort(numbers), keys)):
        return
    row = rows[int(np.argmin(own))]
    raise FacedistillError(
        f"{path} {headers.place(row)}: the record there says that it is {headers.number[row]}; "
        "remove the .idx to have it rebuilt, or get the .rec again"
    )


def _promised_images(path: Path, headers: Headers, image: np.ndarray, summary: int) -> int:
    """Return the number of images, which record 0 must agree with and whose keys are 1..n."""
    count = int(image.sum())
    promised = headers.label[summary]
    # Compared as float32: a set of 17 million images states its number rounded.
    if promised != np.float32(count + 1):
        raise FacedistillError(
            f"{path}: record 0 promises {promised - 1:,.0f} images but {count:,} are there; get "
            "the file and its .idx again"
        )
    keys = headers.keys[image]
    if count and (keys.min() != 1 or keys.max() != count):
        raise FacedistillError(
            f"{path}: the images' keys run from {keys.min()} to {keys.max()}, not 1 to {count}; "
            "remove the .idx to have it rebuilt"
        )
    return count


def check_property(path: Path, identities: int) -> None:
    """Compare the number of classes in `property` with the labels, which count.

    InsightFace's own packer writes the number of images into a second line.
    """
    file = path.with_name("property")
    if not file.exists():
        return
    try:
        classes, _, _ = (int(field) for field in read_regular(file).split(b"\n")[0].split(b","))
    except ValueError as error:
        raise FacedistillError(
            f"{file}: expected `classes,height,width`; mend or remove the file"
        ) from error
    if identities and classes != identities:
        warnings.warn(
            f"{file} states {classes:,} classes but the labels of {path.name} hold "
            f"{identities:,} identities; the labels are used",
            stacklevel=3,
        )
