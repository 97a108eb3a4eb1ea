"""RecordIO, the packed format of InsightFace's training sets (`train.rec`, `.idx`, `property`).

A file is a row of records `u32 magic, u32 (3 bits flag, 29 bits length), payload, zeros to 4
bytes`. A payload in which the magic word stands at a multiple of four is split there: its parts
carry the flags 1, 2.., 3 and the word between two parts is left out. A payload is
`<u32 n, f32 label, u64 id, u64 id2`, then n float labels if n > 0, then the image file.
`train.idx` names every record: `key TAB offset`; where ids are the keys, as packers write them,
one that differs is an error.

Two layouts are read. InsightFace: record 0 is no image but holds (number of images + 1, end), the
images are records 1..n, one record per identity follows. im2rec: images from key 0 on.
"""

from __future__ import annotations

import hashlib
import mmap
import warnings
from array import array
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import progress_bar, track
from facedistill.data.formats.decode import decode_image
from facedistill.data.formats.npy import open_npy
from facedistill.data.labels import UNLABELLED, check_labels
from facedistill.data.labels import relabel as renumber
from facedistill.data.sample import KEY_BYTES, FaceDataset

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
_START = Struct("<III")  # The frame and the number of vector labels.
_FRAME_SIZE, _HEADERS_SIZE = FRAME.size, FRAME.size + HEADER.size
_FLOAT = Struct("<f")
WHOLE, FIRST, MIDDLE, LAST = range(4)
_CHUNK = 1 << 16
_SLOW, _SLOW_BYTES = 1 << 20, 1 << 32
"""From how many records or bytes on a pass over the headers shows a progress bar."""


class BadRecord(NamedTuple):
    """A record that is not what was written: its key, its offset in bytes and what is wrong."""

    key: int
    offset: int
    reason: str


class RecordIODataset(FaceDataset):
    """A RecordIO file, memory-mapped, with random access to its images.

    Opening reads the index and every record's header, no images: labels and the layout of the
    whole file are checked there. Samples come in the order of their keys. The file is mapped
    anew in each process that unpickles the data set.

    Args:
        path: A folder with `train.rec`, or a `.rec` file; `.idx` and `property` are looked for
            beside it. A missing `.idx` is rebuilt in memory, with a warning.
        relabel: Number the identities anew instead of refusing labels with holes.

    Raises:
        FacedistillError: If the files are missing, damaged or do not belong together.
    """

    def __init__(self, path: str | Path, *, relabel: bool = False) -> None:
        self.path = find_record_file(path)
        self.name = str(self.path)
        self._map: mmap.mmap | None = None
        self._size = self._mapped.size()
        keys, offsets = _index(self.path, self._mapped)
        table = _read_headers(self.path, self._mapped, keys, offsets)
        self.keys, self.offsets, labels = _images(self.path, table)
        self.labels = renumber(labels)[0] if relabel else labels
        identities = check_labels(self.labels, self.name)
        _check_property(self.path, identities)

    @property
    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            self._map = _map_file(self.path)
            if self._map.size() != getattr(self, "_size", self._map.size()):
                raise FacedistillError(f"{self.path}: the file changed while in use; start again")
        return self._map

    def encoded(self, index: int) -> bytes:
        """Return the image file's bytes of sample `index`."""
        data = self._map or self._mapped
        offset = self.offsets.item(index)
        magic, length, vector = _START.unpack_from(data, offset)
        if magic != MAGIC:
            raise FacedistillError(f"{self.where(index)}: the file changed while in use")
        if length <= MAX_LENGTH:
            return data[offset + _HEADERS_SIZE + 4 * vector : offset + _FRAME_SIZE + length]
        payload, _ = _join(data, offset)
        return payload[HEADER.size + 4 * vector_labels(payload) :]

    def where(self, index: int) -> str:
        """Return `file key K (offset O)`."""
        return f"{self.name} key {self.keys.item(index)} (offset {self.offsets.item(index)})"

    def close(self) -> None:
        """Unmap the file; it is mapped again when next read."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_map": None}


def find_record_file(path: str | Path) -> Path:
    """Return the `.rec` file that `path` (a folder or the file) stands for.

    Raises:
        FacedistillError: If there is none, or several in a folder without `train.rec`.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise FacedistillError(f"{path}: no such file; give a .rec file or its folder")
        return path
    if (path / "train.rec").is_file():
        return path / "train.rec"
    found = sorted(path.glob("*.rec"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:3]) or "none"
        raise FacedistillError(f"{path}: no train.rec (.rec files there: {names}); name the file")
    return found[0]


def vector_labels(payload: bytes) -> int:
    """Return how many float labels stand before the image of a payload (0: a scalar label)."""
    return int.from_bytes(payload[:4], "little")


# ---------------------------------------------------------------------------------------------
# Reading: the bytes, the index, the headers
# ---------------------------------------------------------------------------------------------


def _map_file(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise FacedistillError(f"{path}: the file has zero bytes; get it again") from error
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error


def _join(data: mmap.mmap, offset: int) -> tuple[bytes, int]:
    """Read one record, put together if it was split.

    Returns:
        (payload, offset just behind the record).

    Raises:
        ValueError: If there is no whole record at `offset`; the message says why.
    """
    parts: list[bytes] = []
    while True:
        flag, start, length = _part(data, offset)
        if (flag in (WHOLE, FIRST)) == bool(parts):
            raise ValueError("the parts of a split record are out of order")
        parts.append(data[start : start + length])
        offset = start + (length + 3 & ~3)
        if flag in (WHOLE, LAST):
            return MAGIC_BYTES.join(parts), offset


def _part(data: mmap.mmap, offset: int) -> tuple[int, int, int]:
    """Return (flag, start, length) of the part of a record that begins at `offset`."""
    if not 0 <= offset <= len(data) - FRAME.size:
        raise ValueError(f"it begins beyond the file's {len(data):,} bytes")
    magic, length = FRAME.unpack_from(data, offset)
    if magic != MAGIC:
        raise ValueError(f"no record begins there (0x{magic:08x} instead of 0x{MAGIC:08x})")
    flag, length, start = length >> 29, length & MAX_LENGTH, offset + FRAME.size
    if flag > LAST:
        raise ValueError(f"its flag is {flag}, not 0 to 3")
    if start + (length + 3 & ~3) > len(data):
        raise ValueError(f"its {length:,} bytes reach beyond the file's {len(data):,}")
    return flag, start, length


def _index(path: Path, data: mmap.mmap) -> tuple[np.ndarray, np.ndarray]:
    """Return (keys, offsets) in the order of the offsets, from the .idx or by scanning."""
    index = path.with_suffix(".idx")
    if not index.is_file():
        warnings.warn(
            f"{index} is missing: the records of {path.name} are counted anew from the first "
            "byte, in memory, each time it is opened",
            stacklevel=4,
        )
        offsets = _scan(path, data)
        return np.arange(len(offsets), dtype=np.int64), offsets
    keys, offsets = _parse_index(index)
    order = np.argsort(offsets, kind="stable")
    return keys[order], offsets[order]


def _scan(path: Path, data: mmap.mmap) -> np.ndarray:
    """Find every record from its predecessor's length; int64 offsets."""
    offsets, offset = array("q"), 0
    with progress_bar("B") as progress:
        task = progress.add_task(
            f"scanning {path.name}", total=len(data), note="", visible=len(data) > _SLOW_BYTES
        )
        while offset < len(data):
            if not len(offsets) % _CHUNK:
                progress.update(task, completed=offset)
            offsets.append(offset)
            offset = _end(path, data, offset)
        progress.update(task, completed=offset)
    return np.frombuffer(offsets, np.int64)


def _end(path: Path, data: mmap.mmap, offset: int) -> int:
    """Return the offset just behind the record at `offset`."""
    try:
        flag, start, length = _part(data, offset)
        return start + (length + 3 & ~3) if flag == WHOLE else _join(data, offset)[1]
    except ValueError as error:
        raise FacedistillError(
            f"{path} offset {offset}: the record is damaged or cut short: {error}; get the file "
            "again"
        ) from error


def _parse_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read `key TAB offset` lines: (keys, offsets), int64."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    text = text.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
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


class _Headers(NamedTuple):
    """What the headers of all records say, in the order of the offsets."""

    keys: np.ndarray
    offsets: np.ndarray
    vector: np.ndarray  # int64: how many float labels, 0 for a scalar one.
    label: np.ndarray  # float32: the scalar, or the first of the vector.
    content: np.ndarray  # int64: bytes behind the labels, the image.
    number: np.ndarray  # int64: the id that the record itself bears.

    def place(self, row: int | np.integer) -> str:
        return f"key {self.keys[row]} (offset {self.offsets[row]})"


def _read_headers(path: Path, data: mmap.mmap, keys: np.ndarray, offsets: np.ndarray) -> _Headers:
    """Read every record's header and require that the records tile the file.

    Raises:
        FacedistillError: At the first record that is damaged or not followed by the next one.
    """
    count = len(offsets)
    if not count or offsets[0] != 0:
        raise FacedistillError(
            f"{path}: the .idx names no record at offset 0; remove the .idx to have it rebuilt"
        )
    kinds = (np.int64, "<f4", np.int64, np.int64)
    headers = _Headers(keys, offsets, *(np.empty(count, kind) for kind in kinds))
    ends = np.append(offsets[1:], len(data))
    words = np.frombuffer(data, "<u4", count=len(data) // 4)
    rows: Iterable[int] = range(0, count, _CHUNK)
    if count > _SLOW:
        rows = track(
            rows, f"reading {path.name}", total=-(-count // _CHUNK), unit="x 65,536 records"
        )
    for begin in rows:
        part = slice(begin, begin + _CHUNK)
        plain, *values = _plain_headers(words, offsets[part], ends[part])
        for column, value in zip(headers[2:], values, strict=True):
            column[part] = value
        for row in begin + np.flatnonzero(~plain):
            place = f"{path} {headers.place(row)}"
            header = _header(data, place, int(offsets[row]), int(ends[row]))
            for column, field in zip(headers[2:], header, strict=True):
                column[row] = field
    return headers


def _plain_headers(words: np.ndarray, offsets: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    """Read many headers at once: [plain, vector, label, content, number].

    `plain` is True for unsplit, well-formed records that end where the next one begins; the other
    rows' values mean nothing.
    """
    if len(words) < _HEADERS_SIZE // 4:
        kinds = (bool, np.int64, np.float32, np.int64, np.int64)
        return [np.zeros(len(offsets), kind) for kind in kinds]
    last = len(words) - 1
    at = np.clip(offsets // 4, 0, last)
    magic, length, vector, label, number, number_high, _, _, first = (
        words[np.minimum(at[:, None] + np.arange(9), last)].astype(np.int64).T
    )
    content = length - HEADER.size - 4 * vector
    plain = (
        (magic == MAGIC)
        & (offsets % 4 == 0)
        & (length <= MAX_LENGTH)  # The flag is 0.
        & (offsets + FRAME.size + (length + 3 & ~3) == ends)
        & (content >= 0)
    )
    label = np.where(vector > 0, first, label).astype("<u4").view("<f4")
    return [plain, vector, label, content, number | number_high << 32]


def _header(data: mmap.mmap, place: str, offset: int, end: int) -> tuple[int, float, int, int]:
    """Read one record's (vector, label, content, number), whole or split, or say what is wrong."""
    try:
        payload, next_offset = _join(data, offset)
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


def _images(path: Path, headers: _Headers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    if len(summary) or path.with_suffix(".idx").is_file():
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


def _check_numbers(path: Path, headers: _Headers, rows: np.ndarray) -> None:
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


def _promised_images(path: Path, headers: _Headers, image: np.ndarray, summary: int) -> int:
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


def _check_property(path: Path, identities: int) -> None:
    """Compare the number of classes in `property` with the labels, which count."""
    file = path.with_name("property")
    if not file.is_file():
        return
    try:
        classes, _, _ = (int(field) for field in file.read_bytes()[:100].split(b","))
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


# ---------------------------------------------------------------------------------------------
# Verification
# ---------------------------------------------------------------------------------------------


def verify_records(path: str | Path) -> list[BadRecord]:
    """Read every record and find those that are not as they were written.

    With the checksums that `RecordIOWriter` leaves beside the file, any changed byte of a header,
    label or image is found; without them, images that do not decode.

    Args:
        path: A folder with `train.rec`, or a `.rec` file.

    Returns:
        The bad records, in the order of the file; empty where all is well.

    Raises:
        FacedistillError: If the files do not belong together.
    """
    path = find_record_file(path)
    checksums = checksum_file(path)
    if checksums.is_file():
        return _verify_checksums(path, checksums)
    dataset = RecordIODataset(path, relabel=True)
    bad = []
    for index in track(range(len(dataset)), f"verifying {path.name}", len(dataset), "images"):
        try:
            decode_image(dataset.encoded(index), "the image")
        except FacedistillError as error:
            bad.append(BadRecord(int(dataset.keys[index]), int(dataset.offsets[index]), str(error)))
    return bad


def _verify_checksums(path: Path, checksums: Path) -> list[BadRecord]:
    data = _map_file(path)
    keys, offsets = _index(path, data)
    expected = _read_checksums(checksums, len(offsets))
    bad = []
    for row in track(range(len(offsets)), f"verifying {path.name}", len(offsets), "records"):
        try:
            payload, _ = _join(data, int(offsets[row]))
            if record_checksum(payload) == expected[row].tobytes():
                continue
            reason = "its bytes differ from those written"
        except ValueError as error:
            reason = str(error)
        bad.append(BadRecord(int(keys[row]), int(offsets[row]), reason))
    return bad


def _read_checksums(path: Path, records: int) -> np.ndarray:
    try:
        table = open_npy(path)
    except (OSError, ValueError) as error:
        raise FacedistillError(
            f"{path}: not a checksum file ({error}); remove it or pack again"
        ) from error
    if table.dtype != np.uint8 or table.shape != (records, KEY_BYTES):
        raise FacedistillError(
            f"{path}: checksums {table.shape} for {records:,} records; it belongs to another file, "
            "remove it or pack again"
        )
    return table


def checksum_file(path: Path) -> Path:
    """Return where the checksums of a `.rec` file lie: uint8 (records, 16) in file order."""
    return path.with_suffix(".checksums.npy")


def record_checksum(payload: bytes) -> bytes:
    """Return the 16-byte BLAKE2b digest of a whole payload: header, labels and image."""
    return hashlib.blake2b(payload, digest_size=KEY_BYTES).digest()
