"""The bank: a teacher's embeddings of a data set, computed once and read row by row."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.npy import NpyFile
from facedistill.data.labels import Subset
from facedistill.data.sample import KEY_BYTES
from facedistill.distill.bank.format import (
    BankInfo,
    pixel_sums,
    read_info,
    row_sums,
    shard_path,
)

_PIXEL_ROWS = 256
"""Of pixel features that are verified at once."""

_SLACK = 0.01
"""How far from 1 a stored length may be; rounding to fp16 stays below 0.001."""


class Bank:
    """A finished bank, open for reading.

    Opening reads a header per shard; the first look-up by key reads the keys (16 bytes an image).

    Args:
        folder: The bank's folder.

    Attributes:
        folder: The same.
        info: What the bank says of itself.

    Raises:
        FacedistillError: If the folder is no bank, is unfinished, or a shard is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info = read_info(self.folder)
        there = sum(1 for _ in self.folder.glob("rows-*.npy"))
        # Counting first bounds the loop by files that exist, whatever bank.json claims.
        if there < self.info.shards:
            raise FacedistillError(
                f"bank {self.folder} is unfinished ({there} of {self.info.shards} shards are "
                "there): run the same `facedistill embed` again, it continues"
            )
        self._shards = [open_shard(self.folder, s, self.info) for s in range(self.info.shards)]

    def __len__(self) -> int:
        return self.info.count

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys in sorted order and the row of each: what a look-up by key searches."""
        keys = _comparable(np.concatenate([shard.column("key") for shard in self._shards]))
        order = np.argsort(keys, kind="stable")
        return keys[order], order

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows that hold `keys`.

        Args:
            keys: uint8 (B, 16).

        Returns:
            int64 (B,); of images that are in the bank twice, the first row.

        Raises:
            FacedistillError: If an image is not in the bank: it is of other data.
        """
        known, rows = self._index
        wanted = _comparable(keys)
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        absent = known[place] != wanted
        if absent.any():
            key = np.ascontiguousarray(keys[absent][0]).tobytes().hex()
            remedy = (
                ""
                if absent.all()
                else (
                    ", or where it was made with --skip, pack the images that are whole "
                    "(`facedistill prepare DATA --pack --skip --out FACES`) and train on those"
                )
            )
            raise FacedistillError(
                f"bank {self.folder} knows nothing of {int(absent.sum())} of {len(keys)} images "
                f"(first key {key}): it was made from {self.info.dataset_name}, not from this "
                f"data; embed this data first{remedy}"
            )
        return rows[place]

    def rows_of(self, faces: FaceDataset) -> np.ndarray:
        """Return the row of every sample of a data set.

        Row i of a bank is sample i of the data it was made from, so of these, or a subset of them,
        no image is read; others are read once, for their keys.

        Args:
            faces: The data.

        Returns:
            int64 (N,).

        Raises:
            FacedistillError: If an image is not in the bank.
        """
        whole = faces.dataset if isinstance(faces, Subset) else faces
        if whole.fingerprint == self.info.dataset:
            rows = np.arange(len(whole))
            return rows[faces.indices] if isinstance(faces, Subset) else rows
        places = track(range(len(faces)), "finding images", len(faces), "images")
        return self.find(stack_keys([faces.key(i) for i in places]))

    def embeddings(self, rows: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
        """Return unit embeddings, as exact as fp16 stores them (cosines within 1e-4).

        Args:
            rows: int64 (B,).
            flipped: bool (B,): rows for which the flipped view is wanted; None for plain.

        Returns:
            float32 (B, D).

        Raises:
            FacedistillError: If a flipped view is wanted and not had, or a row is damaged.
        """
        return self._view(rows, flipped)[0]

    def norms(self, rows: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
        """Return float32 (B,) lengths of the teacher's raw embeddings; see `embeddings`."""
        return self._view(rows, flipped)[1]

    def raw_embeddings(self, rows: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
        """Return embeddings of the length that the teacher gave them; see `embeddings`."""
        embeddings, norms = self._view(rows, flipped)
        embeddings *= norms[:, None]
        return embeddings

    def pixels(self, rows: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
        """Return the teacher's pixel features, as fp16 stores them; see `embeddings`.

        Returns:
            float16 (B, side^2, C).

        Raises:
            FacedistillError: If the bank keeps none, a flipped view is wanted and not had, or a row
                is damaged.
        """
        if self.info.pixels is None:
            raise FacedistillError(
                f"bank {self.folder} keeps no pixel features: embed again, with --tokens"
            )
        found = self._read_pixels("plain", rows)
        if flipped is not None and flipped.any():
            self._require_flipped()
            found[flipped] = self._read_pixels("flipped", rows[flipped])
        return found.reshape(len(rows), self.info.pixels.side**2, self.info.pixels.channels)

    def verify(self, block: int = 8192) -> None:
        """Read every row of every view.

        Args:
            block: Rows read at once.

        Raises:
            FacedistillError: If a row is not as it was written.
        """
        starts = range(0, len(self), block)
        for start in track(starts, f"verifying {self.folder.name}", len(starts), "blocks"):
            rows = np.arange(start, min(start + block, len(self)))
            for view in self.info.views:
                self._read(view, rows)
                if self.info.pixels:
                    for part in np.array_split(rows, max(1, len(rows) // _PIXEL_ROWS)):
                        self._read_pixels(view, part)

    def _view(self, rows: np.ndarray, flipped: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings and norms, of each row in the view that is wanted."""
        embeddings, norms = self._read("plain", rows)
        if flipped is not None and flipped.any():
            self._require_flipped()
            embeddings[flipped], norms[flipped] = self._read("flipped", rows[flipped])
        return embeddings, norms

    def _require_flipped(self) -> None:
        if "flipped" not in self.info.views:
            raise FacedistillError(
                f"bank {self.folder} has no flipped view: embed with --flip, or set "
                "teacher.view: clean so that mirrored images learn from the plain view"
            )

    def _read_pixels(self, view: str, rows: np.ndarray) -> np.ndarray:
        """Return pixel features of one view, float16 (B, values), every row checked."""
        keys, stored, sums = self._columns(rows, "key", f"{view}_pixels", f"{view}_pixels_sum")
        good = pixel_sums(rows, keys, stored) == sums
        if not good.all():
            raise self._damaged(int(rows[good.argmin()]), view, "the row of pixels")
        return stored

    def _damaged(self, row: int, view: str, what: str) -> FacedistillError:
        return FacedistillError(
            f"{shard_path(self.folder, row // self.info.rows)} is damaged (row {row}, {view}: "
            f"not {what} that was written): delete it and embed again"
        )

    def _read(self, view: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings, float32, and norms of one view, every row checked."""
        columns = (view, f"{view}_norm", f"{view}_sum", "key")
        stored, norms, sums, keys = self._columns(rows, *columns)
        embeddings = stored.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            good = np.abs(np.linalg.norm(embeddings, axis=1) - 1) < _SLACK
        good &= row_sums(rows, keys, stored, norms) == sums
        if not good.all():
            raise self._damaged(int(rows[good.argmin()]), view, "the unit embedding")
        return embeddings, norms

    def _columns(self, rows: np.ndarray, *names: str) -> list[np.ndarray]:
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows of bank {self.folder} are 0..{len(self) - 1}")
        kinds = [self._shards[0].kind(name) for name in names]
        results = [np.empty(len(rows), kind) for kind in kinds]
        order = np.argsort(rows, kind="stable")
        shards = rows[order] // self.info.rows
        for part in np.split(order, np.flatnonzero(np.diff(shards)) + 1):
            if len(part):
                shard = self._shards[rows[part[0]] // self.info.rows]
                for name, result in zip(names, results, strict=True):
                    result[part] = shard.column(name, rows[part] % self.info.rows)
        return results

    def check_teacher(self, fingerprint: str, name: str) -> None:
        """Refuse a bank of another teacher.

        Raises:
            FacedistillError: If the bank was not made by the network with this fingerprint.
        """
        if self.info.teacher != fingerprint:
            raise FacedistillError(
                f"bank {self.folder} holds embeddings of {self.info.teacher_name} "
                f"({self.info.teacher[:12]}), not of {name} ({fingerprint[:12]}): "
                "embed with this teacher into another folder"
            )

    def check_dataset(self, dataset: FaceDataset) -> None:
        """Refuse a data set of which some images are not in the bank.

        Equal fingerprints settle it; else up to 1,000 evenly spread keys are looked up, so that a
        subset or a re-packed copy of the bank's data passes.

        Raises:
            FacedistillError: If the bank does not know an image.
        """
        if dataset.fingerprint == self.info.dataset:
            return
        spread = np.unique(np.linspace(0, len(dataset) - 1, min(1000, len(dataset))).astype(int))
        self.find(stack_keys([dataset.key(int(i)) for i in spread]))

    def prototypes(self, rows: np.ndarray, labels: np.ndarray, block: int = 8192) -> np.ndarray:
        """Return the normalised mean of each identity's unit embeddings.

        Args:
            rows: int64 (N,) rows of the data's samples.
            labels: int64 (N,), 0..M-1 without holes.
            block: Rows read at once, in the order in which they are stored.

        Returns:
            float32 (M, D).

        Raises:
            FacedistillError: If an identity has no mean: no image, or embeddings that cancel out.
        """
        order = np.argsort(rows, kind="stable")
        sums = np.zeros((int(labels.max()) + 1, self.info.dimension), np.float64)
        for start in range(0, len(order), block):
            part = order[start : start + block]
            part = part[np.argsort(labels[part], kind="stable")]
            names, first = np.unique(labels[part], return_index=True)
            values = self.embeddings(rows[part]).astype(np.float64)
            sums[names] += np.add.reduceat(values, first, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        if not lengths.all():
            raise FacedistillError(
                f"bank {self.folder} gives identity {int(lengths.argmin())} no mean embedding: "
                "it has no image, or its embeddings cancel out"
            )
        sums /= lengths
        return sums.astype(np.float32)


class _Column(NamedTuple):
    """A column of a shard: where it begins behind the header, what a row is, and how many."""

    begin: int
    kind: np.dtype
    rows: int


class Shard:
    """A shard, open for reading.

    Args:
        table: Of one record, whose fields are the shard's columns.
    """

    def __init__(self, table: NpyFile) -> None:
        self._file, self._offset = table.file, table.offset
        self._columns = {
            name: _Column(begin, np.dtype((column.base, column.shape[1:])), column.shape[0])
            for name, (column, begin, *_) in (table.dtype.fields or {}).items()
        }

    def kind(self, name: str) -> np.dtype:
        """Return what a row of a column is."""
        return self._columns[name].kind

    def column(self, name: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Read rows of a column; all of them by default.

        Raises:
            FacedistillError: If the file was cut since it was opened.
        """
        begin, kind, rows_there = self._columns[name]
        wanted = np.arange(rows_there) if rows is None else rows
        return self._file.read_rows(self._offset + begin, kind, wanted)


def open_shard(folder: Path, shard: int, info: BankInfo) -> Shard:
    """Open a shard.

    Raises:
        FacedistillError: If it is missing, damaged, or of another bank.
    """
    path = shard_path(folder, shard)
    try:
        table = NpyFile(path)
    except FileNotFoundError:
        raise FacedistillError(
            f"{path} is missing: run the same `facedistill embed` again, it continues"
        ) from None
    except ValueError as error:
        raise FacedistillError(f"{path} is damaged ({error}): delete it and embed again") from error
    if table.dtype != info.shard_type(shard) or table.shape != (1,):
        raise FacedistillError(f"{path} does not fit bank.json: delete it and embed again")
    table.file.read_here_and_there()
    opened = Shard(table)
    if not np.array_equal(opened.column("bank"), info.mark):
        raise FacedistillError(
            f"{path} is of another bank than {folder / 'bank.json'}, with another teacher or other "
            "data: delete it and embed again"
        )
    return opened


def stack_keys(keys: list[bytes]) -> np.ndarray:
    """Return keys as uint8 (B, 16)."""
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)


def _comparable(keys: np.ndarray) -> np.ndarray:
    """Keys as (N,) byte strings, a type that numpy sorts, compares and searches."""
    return np.ascontiguousarray(keys).view(f"S{KEY_BYTES}")[:, 0]
