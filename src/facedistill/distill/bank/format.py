"""What a bank says of itself, and how its files are laid out.

A bank is a folder:

    bank.json               of which teacher and data set, dimension, views, rows per shard
    rows-00000.npy ...      one shard each: whose it is, then the columns of its rows one after the
                            other: keys, and per view the unit embeddings (fp16), their norms and
                            a checksum of each row; where pixels are kept, also each image's
                            pixel features (fp16) and a checksum of theirs
    part-00003-0001024.npy  the first rows of a shard that is not finished (`unfinished_shard`)

Columns are contiguous, so that reading all keys of a large bank reads the keys only. Rows have a
checksum each, so that what is read is checked, and nothing else need be.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate
from facedistill.core.missing_files import missing
from facedistill.core.regular_files import open_regular
from facedistill.data.sample import KEY_BYTES

FORMAT = 3
VIEWS = ("plain", "flipped")
PIXEL_OUTPUTS = ("tokens", "feature_map")
MAX_DIMENSION = 65_536
_MAX_JSON_BYTES = 1 << 16
_MAX_SHARD_BYTES = (1 << 31) - 1
_FEWEST_ROWS, _MOST_SHARDS = 4096, 256
_WHOLE_SHARD_BYTES = 1 << 28
"""A shard is in memory while it is written."""


@dataclass(frozen=True)
class StoredPixels:
    """The pixel features of an image that a bank keeps.

    Attributes:
        output: What the teacher gives them as: `tokens`, or `feature_map` (C, side, side).
        channels: C.
        side: Of the square grid; side^2 rows of C values, row by row of the grid.
    """

    output: str
    channels: int
    side: int

    @property
    def values(self) -> int:
        """Number of values of an image."""
        return self.channels * self.side**2


@dataclass(frozen=True)
class StoredAccuracy:
    """How well the teacher tells the labels of a bank's images apart.

    Attributes:
        estimate: Accuracy on pairs drawn of the labels, 0..1, with its interval.
        pairs: How many, half of them mated.
    """

    estimate: Estimate
    pairs: int

    def text(self) -> str:
        """Return the figure as text: `96.55 % (95.90 to 97.10) on 6,000 pairs of its labels`."""
        return f"{self.estimate.percent()} on {self.pairs:,} pairs drawn of the labels"


@dataclass(frozen=True)
class BankInfo:
    """What `bank.json` says.

    Attributes:
        teacher: Fingerprint of the network that gave the embeddings (`imported:...` where they
            came from a file).
        teacher_name: Its file or name, for messages.
        dataset: Fingerprint of the data set.
        dataset_name: Its path, for messages.
        count: Number of images.
        dimension: Embedding size D.
        views: `plain`, or `plain` and `flipped`.
        rows: Rows per shard; the last shard may have fewer.
        licence: Licence of the teacher, `unknown` unless stated.
        format: Version of this layout.
        pixels: The teacher's last pixel features, where they are kept too; None where not.
        accuracy: The teacher's, on the labels of the images; None where it is not known.
    """

    teacher: str
    teacher_name: str
    dataset: str
    dataset_name: str
    count: int
    dimension: int
    views: tuple[str, ...] = VIEWS
    rows: int = _FEWEST_ROWS
    licence: str = "unknown"
    format: int = FORMAT
    pixels: StoredPixels | None = None
    accuracy: StoredAccuracy | None = None

    @property
    def essence(self) -> dict[str, Any]:
        """The fields that decide what the rows hold: all but names, licence and accuracy."""
        described = ("teacher_name", "dataset_name", "licence", "accuracy")
        return {key: value for key, value in self.to_dict().items() if key not in described}

    def to_dict(self) -> dict[str, Any]:
        """Return what `bank.json` holds; of pixels and accuracy only where they are known."""
        absent = {key for key in ("pixels", "accuracy") if getattr(self, key) is None}
        return {key: value for key, value in asdict(self).items() if key not in absent}

    @property
    def row_bytes(self) -> int:
        """Bytes of an image's row."""
        pixels = 2 * self.pixels.values + 4 if self.pixels else 0
        return KEY_BYTES + len(self.views) * (2 * self.dimension + 8 + pixels)

    @property
    def mark(self) -> np.ndarray:
        """16 bytes that every shard of this bank bears, uint8: the hash of its essence."""
        text = json.dumps(self.essence, sort_keys=True).encode()
        return np.frombuffer(hashlib.blake2b(text, digest_size=KEY_BYTES).digest(), np.uint8)

    @property
    def shards(self) -> int:
        """Number of shard files."""
        return -(-self.count // self.rows)

    def shard_rows(self, shard: int) -> range:
        """Indices of the data set's samples that shard `shard` holds."""
        return range(shard * self.rows, min((shard + 1) * self.rows, self.count))

    def shard_type(self, shard: int) -> np.dtype[Any]:
        """Return the record that is shard `shard`: the bank's mark, then column after column."""
        rows = len(self.shard_rows(shard))
        columns: list[Any] = [("bank", "u1", (KEY_BYTES,)), ("key", "u1", (rows, KEY_BYTES))]
        for view in self.views:
            columns += [(view, "<f2", (rows, self.dimension)), (f"{view}_norm", "<f4", (rows,))]
            columns += [(f"{view}_sum", "<u4", (rows,))]
            if self.pixels:
                columns += [(f"{view}_pixels", "<f2", (rows, self.pixels.values))]
                columns += [(f"{view}_pixels_sum", "<u4", (rows,))]
        return np.dtype(columns)


def rows_per_shard(count: int, row_bytes: int = 0) -> int:
    """Return how many rows a shard of a bank of `count` images has.

    Every open shard holds a file descriptor, of which a process often has 1,024: large banks get
    larger shards, not more. Rows with pixels are long, and fewer of them make a shard.

    Args:
        count: Number of images.
        row_bytes: Bytes of a row, where they are many.
    """
    fewest = _FEWEST_ROWS
    if row_bytes:
        fewest = min(fewest, max(1, _WHOLE_SHARD_BYTES // row_bytes))
    return max(fewest, -(-count // _MOST_SHARDS))


def row_sums(
    rows: np.ndarray, keys: np.ndarray, embeddings: np.ndarray, norms: np.ndarray
) -> np.ndarray:
    """Return the CRC-32 of each row of one view, of the bytes as they are stored.

    Args:
        rows: int64 (B,): a row in another's place is damage too.
        keys: uint8 (B, 16).
        embeddings: float16 (B, D).
        norms: float32 (B,).

    Returns:
        uint32 (B,).
    """
    return _sums(rows.astype("<i8")[:, None], keys, norms[:, None], embeddings)


def pixel_sums(rows: np.ndarray, keys: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return uint32 (B,): the CRC-32 of each row's pixels, float16 (B, values); see `row_sums`."""
    return _sums(rows.astype("<i8")[:, None], keys, pixels)


def _sums(*columns: np.ndarray) -> np.ndarray:
    table = np.hstack([np.ascontiguousarray(column).view(np.uint8) for column in columns])
    return np.fromiter(map(zlib.crc32, table), np.uint32, len(table))


def info_path(folder: Path) -> Path:
    """Return the path of a bank's `bank.json`."""
    return folder / "bank.json"


def shard_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard."""
    return folder / f"rows-{shard:05d}.npy"


def write_info(folder: Path, info: BankInfo) -> None:
    """Write `bank.json`."""
    with atomic_path(info_path(folder)) as temporary:
        temporary.write_text(json.dumps(info.to_dict(), indent=2) + "\n", encoding="utf-8")


def read_info(folder: Path) -> BankInfo:
    """Read `bank.json`.

    Raises:
        FacedistillError: If there is none, it is damaged or of another version.
    """
    path = info_path(folder)
    try:
        with open_regular(path) as file:
            text = file.read(_MAX_JSON_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        if not folder.exists():
            raise missing(folder) from None
        raise FacedistillError(
            f"{folder} is no bank (it has no bank.json): make one with `facedistill embed`"
        ) from None
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        if len(text) > _MAX_JSON_BYTES:
            raise ValueError("it is too large")
        raw = json.loads(text)
        views, kept = tuple(raw["views"]), raw.get("pixels")
        pixels = None if kept is None else StoredPixels(**kept)
        measured = raw.get("accuracy")
        accuracy = None if measured is None else _accuracy(measured)
        info = BankInfo(**{**raw, "views": views, "pixels": pixels, "accuracy": accuracy})
        _check(info)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FacedistillError(f"{path} is damaged ({error}): embed again") from error
    if info.format != FORMAT:
        raise FacedistillError(
            f"{path} is of format {info.format}, this facedistill reads {FORMAT}: embed again"
        )
    return info


def _check(info: BankInfo) -> None:
    for key in ("teacher", "teacher_name", "dataset", "dataset_name", "licence"):
        if not isinstance(getattr(info, key), str):
            raise ValueError(f"{key} is not a text")
    for key in ("format", "count", "rows", "dimension"):
        value = getattr(info, key)
        if type(value) is not int or value < 1:
            raise ValueError(f"{key} is {value!r}")
    if info.views not in (VIEWS[:1], VIEWS):
        raise ValueError(f"views are {info.views!r}")
    if info.dimension > MAX_DIMENSION:
        raise ValueError(f"dimension is {info.dimension}")
    if info.pixels is not None:
        _check_pixels(info.pixels)
    if not fits_shard(info):
        raise ValueError(f"rows are {info.rows}, a shard would be over 2 GB")


def _accuracy(measured: dict[str, Any]) -> StoredAccuracy:
    accuracy = StoredAccuracy(Estimate.from_dict(measured["estimate"]), measured["pairs"])
    if not 0 <= accuracy.estimate.value <= 1:
        raise ValueError(f"accuracy is {accuracy.estimate.value!r}")
    if type(accuracy.pairs) is not int or accuracy.pairs < 1:
        raise ValueError(f"pairs are {accuracy.pairs!r}")
    return accuracy


def _check_pixels(pixels: StoredPixels) -> None:
    if pixels.output not in PIXEL_OUTPUTS:
        raise ValueError(f"pixels are {pixels.output!r}")
    for key in ("channels", "side"):
        value = getattr(pixels, key)
        if type(value) is not int or not 1 <= value <= MAX_DIMENSION:
            raise ValueError(f"{key} is {value!r}")


def fits_shard(info: BankInfo) -> bool:
    """Whether a shard of such a bank is of a size that is written and read."""
    return KEY_BYTES + min(info.rows, info.count) * info.row_bytes <= _MAX_SHARD_BYTES
