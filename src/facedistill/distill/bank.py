"""The bank: a teacher's embeddings of a data set, computed once and memory-mapped.

A bank is a folder:

    bank.json               who taught what: teacher, data set, dimension, views, rows per shard
    rows-00000.npy ...      one record per image: key, unit embedding (fp16) per view, norm per view

Each shard appears by a rename when all of its rows are known, so a killed `embed` goes on from the
last whole shard and two at once write the same bytes to the same place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.atomic import atomic_path
from facedistill.data.sample import KEY_BYTES, FaceDataset
from facedistill.errors import FacedistillError
from facedistill.progress import progress_bar

FORMAT = 1
VIEWS = ("plain", "flipped")
_MAX_DIMENSION = 65_536

Embed = Callable[[np.ndarray], np.ndarray]
"""A teacher as the bank sees it: uint8 RGB (B, H, W, 3) -> float (B, D) raw embeddings."""


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
    """

    teacher: str
    teacher_name: str
    dataset: str
    dataset_name: str
    count: int
    dimension: int
    views: tuple[str, ...] = VIEWS
    rows: int = 4096
    licence: str = "unknown"
    format: int = FORMAT

    @property
    def row_type(self) -> np.dtype[Any]:
        """The record of one image: 16 key bytes, then per view D halves and a float32 norm."""
        columns: list[Any] = [("key", "u1", (KEY_BYTES,))]
        for view in self.views:
            columns += [(view, "<f2", (self.dimension,)), (f"{view}_norm", "<f4")]
        return np.dtype(columns)

    @property
    def shards(self) -> int:
        """Number of shard files."""
        return -(-self.count // self.rows)

    def shard_rows(self, shard: int) -> range:
        """Indices of the data set's samples that shard `shard` holds."""
        return range(shard * self.rows, min((shard + 1) * self.rows, self.count))


class Bank:
    """A finished bank, open for reading.

    Args:
        folder: The bank's folder.

    Raises:
        FacedistillError: If the folder is no bank, is unfinished, or a shard is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info = _read_info(self.folder)
        missing = [s for s in range(self.info.shards) if not _shard_path(self.folder, s).exists()]
        if missing:
            raise FacedistillError(
                f"bank {self.folder} is unfinished ({len(missing)} of {self.info.shards} shards "
                "missing): run the same `facedistill embed` again, it continues"
            )
        self._shards = [_open_shard(self.folder, s, self.info) for s in range(self.info.shards)]

    def __len__(self) -> int:
        return self.info.count

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys in sorted order and the row of each: what a look-up by key searches."""
        keys = np.concatenate([shard["key"] for shard in self._shards])
        order = np.argsort(_comparable(keys), kind="stable")
        return _comparable(keys[order]), order

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows that hold `keys`.

        Args:
            keys: uint8 (B, 16).

        Returns:
            int64 (B,).

        Raises:
            FacedistillError: If an image is not in the bank: it is of other data.
        """
        known, rows = self._index
        wanted = _comparable(keys)
        place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        absent = known[place] != wanted
        if absent.any():
            key = np.ascontiguousarray(keys[absent][0]).tobytes().hex()
            raise FacedistillError(
                f"bank {self.folder} knows nothing of {int(absent.sum())} of {len(keys)} images "
                f"(first key {key}): it was made from {self.info.dataset_name}, not from this "
                "data; embed this data first"
            )
        return rows[place]

    def embeddings(self, rows: np.ndarray, flipped: np.ndarray | None = None) -> np.ndarray:
        """Return unit embeddings.

        Args:
            rows: int64 (B,).
            flipped: bool (B,): rows for which the flipped view is wanted; None for plain.

        Returns:
            float32 (B, D).

        Raises:
            FacedistillError: If a flipped view is wanted and the bank has none.
        """
        result = self._column("plain", rows).astype(np.float32)
        if flipped is not None and flipped.any():
            if "flipped" not in self.info.views:
                raise FacedistillError(
                    f"bank {self.folder} has no flipped view: embed with --flip, or set "
                    "teacher.view: clean so that mirrored images are taught the plain view"
                )
            result[flipped] = self._column("flipped", rows[flipped])
        return result

    def norms(self, rows: np.ndarray, view: str = "plain") -> np.ndarray:
        """Return float32 (B,) lengths of the teacher's raw embeddings."""
        return self._column(f"{view}_norm", rows)

    def _column(self, column: str, rows: np.ndarray) -> np.ndarray:
        base = self.info.row_type[column]
        result = np.empty((len(rows), *base.shape), base.base)
        shard_of = rows // self.info.rows
        for shard in np.unique(shard_of):
            here = shard_of == shard
            result[here] = self._shards[shard][column][rows[here] % self.info.rows]
        return result

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
        self.find(_stack_keys([dataset.key(int(i)) for i in spread]))

    def prototypes(self, rows: np.ndarray, labels: np.ndarray, block: int = 65_536) -> np.ndarray:
        """Return the normalised mean of each identity's unit embeddings.

        Args:
            rows: int64 (N,) rows of the data's samples.
            labels: int64 (N,), 0..M-1 without holes.
            block: Rows read at once.

        Returns:
            float32 (M, D).
        """
        order = np.argsort(labels, kind="stable")
        sums = np.zeros((int(labels.max()) + 1, self.info.dimension), np.float64)
        for start in range(0, len(order), block):
            part = order[start : start + block]
            names, first = np.unique(labels[part], return_index=True)
            sums[names] += np.add.reduceat(
                self._column("plain", rows[part]).astype(np.float64), first, axis=0
            )
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


def embed_bank(
    embed: Embed,
    dataset: FaceDataset,
    folder: str | Path,
    *,
    info: BankInfo,
    batch_size: int = 64,
) -> Bank:
    """Fill a bank with a teacher's embeddings, going on where an earlier call was cut off.

    Args:
        embed: The teacher.
        dataset: The faces.
        folder: Where the bank is or will be.
        info: What the bank will say of itself.
        batch_size: Images per call of `embed`.

    Returns:
        The finished bank.

    Raises:
        FacedistillError: If the folder holds a bank of another teacher, data set or layout, the
            teacher gives NaN, or an image does not decode.
    """
    folder = Path(folder)
    _begin(folder, info)
    todo = [s for s in range(info.shards) if not _shard_path(folder, s).exists()]
    with progress_bar("images") as progress:
        task = progress.add_task("embed", total=info.count, note="")
        progress.advance(task, info.count - sum(len(info.shard_rows(s)) for s in todo))
        for shard in todo:
            table = np.empty(len(info.shard_rows(shard)), info.row_type)
            for part, indices in _pieces(info.shard_rows(shard), batch_size):
                _fill(table[part], dataset, indices, embed, info.views)
                progress.advance(task, len(indices))
            _write_shard(folder, shard, table)
    return Bank(folder)


def import_bank(
    embeddings: np.ndarray,
    dataset: FaceDataset,
    folder: str | Path,
    *,
    info: BankInfo,
    flipped: np.ndarray | None = None,
) -> Bank:
    """Make a bank of embeddings a user already has, in the order of the data set's samples.

    Args:
        embeddings: (N, D) raw or unit embeddings of the plain images; may be memory-mapped.
        dataset: The faces they belong to; only their bytes are read, for the keys.
        folder: Where the bank will be.
        info: What the bank will say of itself.
        flipped: (N, D) embeddings of the mirrored images, if had.

    Raises:
        FacedistillError: If the shapes do not fit the data, a value is not finite or a row is 0.
    """
    columns = {"plain": embeddings} | ({} if flipped is None else {"flipped": flipped})
    for view, values in columns.items():
        if values.shape != (len(dataset), info.dimension):
            raise FacedistillError(
                f"{view} embeddings have shape {values.shape}, but {dataset.name} has "
                f"{len(dataset)} images: one row per image, in record order, is needed"
            )
    folder = Path(folder)
    _begin(folder, info)
    with progress_bar("images") as progress:
        task = progress.add_task("import", total=info.count, note="")
        for shard in range(info.shards):
            indices = info.shard_rows(shard)
            table = np.empty(len(indices), info.row_type)
            table["key"] = _stack_keys([dataset.key(i) for i in indices])
            for view, values in columns.items():
                _store(table, view, np.asarray(values[indices.start : indices.stop]), indices.start)
            _write_shard(folder, shard, table)
            progress.advance(task, len(indices))
    return Bank(folder)


def _fill(
    table: np.ndarray, dataset: FaceDataset, indices: range, embed: Embed, views: tuple[str, ...]
) -> None:
    samples = [dataset[i] for i in indices]
    table["key"] = _stack_keys([sample.key for sample in samples])
    shapes = {sample.image.shape for sample in samples}
    if len(shapes) > 1:
        raise FacedistillError(
            f"{dataset.name} holds images of different sizes ({', '.join(map(str, shapes))}): "
            "pack aligned crops of one size with `facedistill prepare`"
        )
    images = np.stack([sample.image for sample in samples])
    _store(table, "plain", embed(images), indices.start)
    if "flipped" in views:
        _store(table, "flipped", embed(np.ascontiguousarray(images[:, :, ::-1])), indices.start)


def _store(table: np.ndarray, view: str, embeddings: np.ndarray, start: int) -> None:
    norms = np.linalg.norm(embeddings.astype(np.float32), axis=1)
    bad = ~np.isfinite(norms) | (norms == 0)
    if bad.any():
        raise FacedistillError(
            f"the teacher's {view} embedding of sample {start + int(bad.argmax())} is NaN, "
            "infinite or zero: check the teacher's weights and input normalisation"
        )
    table[view] = embeddings.astype(np.float32) / norms[:, None]
    table[f"{view}_norm"] = norms


def _pieces(indices: range, size: int) -> Iterator[tuple[slice, range]]:
    for start in range(0, len(indices), size):
        piece = indices[start : start + size]
        yield slice(start, start + len(piece)), piece


def _stack_keys(keys: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)


def _comparable(keys: np.ndarray) -> np.ndarray:
    """Keys as (N,) byte strings, a type that numpy sorts, compares and searches."""
    return np.ascontiguousarray(keys).view(f"S{KEY_BYTES}")[:, 0]


def _begin(folder: Path, info: BankInfo) -> None:
    """Write `bank.json`, or check that the one there says the same."""
    path = folder / "bank.json"
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise FacedistillError(f"{folder} is not empty and holds no bank: choose another --out")
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(info), indent=2) + "\n")
        return
    there = _read_info(folder)
    for item in fields(BankInfo):
        old, new = getattr(there, item.name), getattr(info, item.name)
        if old != new and item.name not in ("dataset_name", "teacher_name", "licence"):
            raise FacedistillError(
                f"{folder} already holds another bank ({item.name} is {old}, this one's is {new}): "
                "choose another --out"
            )


def _read_info(folder: Path) -> BankInfo:
    path = folder / "bank.json"
    try:
        raw = json.loads(path.read_text())
        info = BankInfo(**{**raw, "views": tuple(raw["views"])})
    except FileNotFoundError:
        raise FacedistillError(
            f"{folder} is no bank (it has no bank.json): make one with `facedistill embed`"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FacedistillError(f"{path} is damaged ({error}): embed again") from error
    _check_info(info, path)
    return info


def _check_info(info: BankInfo, path: Path) -> None:
    counts = {"count": info.count, "rows": info.rows, "dimension": info.dimension}
    for key, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise FacedistillError(f"{path} is damaged ({key} is {value!r}): embed again")
    if info.format != FORMAT:
        raise FacedistillError(f"{path} is of format {info.format!r}, this version reads {FORMAT}")
    if info.views not in (("plain",), VIEWS) or info.dimension > _MAX_DIMENSION:
        raise FacedistillError(f"{path} is damaged (views or dimension): embed again")


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"rows-{shard:05d}.npy"


def _write_shard(folder: Path, shard: int, table: np.ndarray) -> None:
    with atomic_path(_shard_path(folder, shard)) as temporary, temporary.open("wb") as file:
        np.save(file, table, allow_pickle=False)


def _open_shard(folder: Path, shard: int, info: BankInfo) -> np.ndarray:
    path = _shard_path(folder, shard)
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise FacedistillError(f"{path} is damaged ({error}): delete it and embed again") from error
    if table.dtype != info.row_type or table.shape != (len(info.shard_rows(shard)),):
        raise FacedistillError(
            f"{path} does not fit bank.json (shape {table.shape}): delete it and embed again"
        )
    return table
