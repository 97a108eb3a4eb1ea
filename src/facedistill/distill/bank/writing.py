"""Filling banks.

Each shard appears by a rename when all of its rows are known; until then its rows are kept every
half minute. A killed `embed` goes on from there, and two at once write the same bytes to the same
place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.progress import progress_bar
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.npy import Rows
from facedistill.data.loading.reading import read_in_order
from facedistill.data.sample import Sample
from facedistill.distill.bank.bank import Bank, open_shard, stack_keys
from facedistill.distill.bank.format import (
    BankInfo,
    info_path,
    pixel_sums,
    read_info,
    row_sums,
    shard_path,
    write_info,
)
from facedistill.distill.bank.unfinished_shard import (
    SECONDS,
    UnfinishedShard,
    new_table,
    parts,
)
from facedistill.models.inference import Inferred, Network, infer
from facedistill.models.outputs import embedding_of


def embed_bank(
    network: Network,
    dataset: FaceDataset,
    folder: str | Path,
    *,
    info: BankInfo,
    batch_size: int = 64,
    workers: int = 0,
    seconds: float = SECONDS,
) -> Bank:
    """Fill a bank with a teacher's embeddings, going on where an earlier call was cut off.

    Args:
        network: The teacher, where it is to run.
        dataset: The faces.
        folder: Where the bank is or will be.
        info: What the bank will say of itself.
        batch_size: Images per forward pass.
        workers: Processes that read and decode ahead; 0 does it in this one.
        seconds: Between two times at which the rows of an unfinished shard are kept.

    Returns:
        The finished bank.

    Raises:
        FacedistillError: If the folder holds a bank of another teacher, data set or layout, the
            teacher gives NaN, or an image does not decode.
    """
    folder = Path(folder)
    info = _begin(folder, dataset, info)
    todo = [s for s in range(info.shards) if not _finished(folder, s, info)]
    with progress_bar("images") as progress:
        task = progress.add_task("embed", total=info.count, note="")
        progress.advance(task, info.count - sum(len(info.shard_rows(s)) for s in todo))
        for shard in todo:
            unfinished = UnfinishedShard(folder, shard, info, seconds)
            indices, begin = info.shard_rows(shard), unfinished.done
            places = _Places(dataset, indices.start)
            progress.advance(task, begin)
            indices = indices[begin:]
            with closing(read_in_order(dataset.__getitem__, indices, workers)) as samples:
                for batch in infer(
                    network,
                    _of_one_size(samples, dataset.name),
                    len(indices),
                    {"embedding", *([info.pixels.output] if info.pixels else [])},
                    image=lambda sample: sample.image,
                    batch_size=batch_size,
                    flip="flipped" in info.views,
                ):
                    _fill(unfinished.table, begin, batch, places, info)
                    progress.advance(task, len(batch.items))
                    if unfinished.advance(len(batch.items)):
                        _describe(folder, info)
                        unfinished.keep()
            _write_shard(folder, shard, unfinished.table, info)
    for path in parts(folder):
        path.unlink(missing_ok=True)
    return Bank(folder)


def import_bank(
    embeddings: Rows,
    dataset: FaceDataset,
    folder: str | Path,
    *,
    info: BankInfo,
    flipped: Rows | None = None,
) -> Bank:
    """Make a bank of embeddings a user already has, in the order of the data set's samples.

    Args:
        embeddings: (N, D) raw or unit embeddings of the plain images, in memory or a file.
        dataset: The faces they belong to; only their bytes are read, for the keys.
        folder: Where the bank will be.
        info: What the bank will say of itself.
        flipped: (N, D) embeddings of the mirrored images; given where `info.views` has them.

    Raises:
        FacedistillError: If the shapes do not fit the data, a value is not finite or a row is 0.
    """
    columns = {"plain": embeddings} | ({} if flipped is None else {"flipped": flipped})
    if tuple(columns) != info.views:
        raise ValueError(f"the bank is to have views {info.views}, given are {tuple(columns)}")
    for view, values in columns.items():
        if values.shape != (len(dataset), info.dimension):
            raise FacedistillError(
                f"{view} embeddings have shape {values.shape}, but {dataset.name} has "
                f"{len(dataset)} images and the bank {info.dimension} dimensions: one row per "
                "image, in record order, is needed"
            )
    folder = Path(folder)
    info = _begin(folder, dataset, info)
    with progress_bar("images") as progress:
        task = progress.add_task("import", total=info.count, note="")
        for shard in range(info.shards):
            table, indices = new_table(info, shard), info.shard_rows(shard)
            table["key"] = stack_keys([dataset.key(i) for i in indices])
            for view, values in columns.items():
                part = values[indices.start : indices.stop]
                _store(table, slice(0, len(indices)), view, part, _Places(dataset, indices.start))
            _write_shard(folder, shard, table, info)
            progress.advance(task, len(indices))
    return Bank(folder)


class _Places:
    """Says where the samples of a shard are, for messages."""

    def __init__(self, dataset: FaceDataset, start: int) -> None:
        self.dataset, self.start = dataset, start

    def __getitem__(self, row: int) -> str:
        index = self.start + row
        return f"sample {index} ({self.dataset.where(index)})"


def _begin(folder: Path, dataset: FaceDataset, info: BankInfo) -> BankInfo:
    """Return what the bank will say of itself; say it anew where there are shards already.

    A folder without a shard stays as it is: `bank.json` comes with the first one.
    """
    if info.count != len(dataset):
        raise ValueError(f"the bank is to have {info.count} rows, the data {len(dataset)} images")
    info = _checked(folder, info)
    if _has_shards(folder):
        write_info(folder, info)
    return info


def _checked(folder: Path, info: BankInfo) -> BankInfo:
    """Refuse a folder that holds something else; return `info` with the licence it may state.

    A `bank.json` without a shard binds nobody.
    """
    path = info_path(folder)
    try:
        there = {each.name for each in folder.iterdir() if not each.name.startswith(".")}
    except FileNotFoundError:
        return info
    except OSError as error:
        raise FacedistillError(f"cannot write to {folder}: {error.strerror}") from error
    if not there:
        return info
    if path.name not in there:
        raise FacedistillError(f"{folder} is not empty and holds no bank: choose another --out")
    if there - {path.name}:
        return _continued(folder, info)
    try:
        read_info(folder)
    except FacedistillError as error:
        raise FacedistillError(
            f"{path} is there already and of no bank: choose another --out"
        ) from error
    return info


def _has_shards(folder: Path) -> bool:
    return any(folder.glob("rows-*.npy")) or any(folder.glob("part-*.npy"))


def _continued(folder: Path, info: BankInfo) -> BankInfo:
    """Require that the bank there is the same, and return `info` with the licence it may state."""
    old = read_info(folder)
    for key in dict.fromkeys([*info.essence, *old.essence]):
        there, value = old.essence.get(key), info.essence.get(key)
        if there != value:
            raise FacedistillError(
                f"{folder} already holds another bank, of {old.teacher_name} on "
                f"{old.dataset_name} ({key} is {there}, this one's is {value}): "
                "choose another --out"
            )
    return replace(info, licence=old.licence) if info.licence == "unknown" else info


def _finished(folder: Path, shard: int, info: BankInfo) -> bool:
    if not shard_path(folder, shard).exists():
        return False
    open_shard(folder, shard, info)  # A damaged one is named now, not after hours of work.
    return True


def _of_one_size(
    samples: Iterator[Sample | FacedistillError], name: str
) -> Iterator[Sample | FacedistillError]:
    """Pass samples on; refuse one of another size than the first."""
    first: tuple[int, ...] | None = None
    for sample in samples:
        if isinstance(sample, Sample):
            first = first or sample.image.shape
            if sample.image.shape != first:
                raise FacedistillError(
                    f"{name} holds images of different sizes "
                    f"({', '.join(map(str, sorted((first, sample.image.shape))))}): pack aligned "
                    "crops of one size with `facedistill prepare`"
                )
        yield sample


def _fill(
    table: np.ndarray, begin: int, batch: Inferred[Sample], places: _Places, info: BankInfo
) -> None:
    """Put a batch's keys, embeddings and pixels into its rows of a shard, the first at `begin`."""
    rows = slice(begin + batch.start, begin + batch.start + len(batch.items))
    table["key"][0, rows] = stack_keys([sample.key for sample in batch.items])
    for view, outputs in (("plain", batch.outputs), ("flipped", batch.mirrored)):
        if outputs is not None:
            _store(table, rows, view, embedding_of(outputs).float().cpu().numpy(), places)
            if info.pixels:
                features = getattr(outputs, info.pixels.output)
                if info.pixels.output == "feature_map":
                    features = features.flatten(2).transpose(1, 2)
                _store_pixels(table, rows, view, features.float().cpu().numpy(), places)


def _store(
    table: np.ndarray, rows: slice, view: str, embeddings: np.ndarray, places: _Places
) -> None:
    """Put unit embeddings, norms and checksums into `rows` of a shard, which hold their keys."""
    target = table[view][0, rows]
    if embeddings.shape != target.shape:
        raise FacedistillError(
            f"the teacher gave {view} embeddings of shape {embeddings.shape}, not {target.shape}"
        )
    exact = embeddings.astype(np.float64)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(exact, axis=1)
        norms = lengths.astype(np.float32)
    bad = ~np.isfinite(norms) | (norms == 0)
    if bad.any():
        raise FacedistillError(
            f"the teacher's {view} embedding of {places[rows.start + int(bad.argmax())]} is NaN, "
            "infinite or zero: check the teacher's weights and input normalisation"
        )
    target[:] = exact / lengths[:, None]
    table[f"{view}_norm"][0, rows] = norms
    numbers = np.arange(places.start + rows.start, places.start + rows.stop)
    sums = row_sums(numbers, table["key"][0, rows], target, norms)
    table[f"{view}_sum"][0, rows] = sums


def _store_pixels(
    table: np.ndarray, rows: slice, view: str, features: np.ndarray, places: _Places
) -> None:
    """Put pixel features (B, N, C) and checksums into `rows` of a shard, which hold their keys."""
    target = table[f"{view}_pixels"][0, rows]
    if features[0].size != target.shape[1]:
        raise FacedistillError(
            f"the teacher gave {view} pixel features of shape {features.shape}, which are not "
            f"{target.shape[1]:,} values an image"
        )
    with np.errstate(over="ignore"):
        target[:] = features.reshape(len(features), -1)
    bad = ~np.isfinite(target).all(axis=1)
    if bad.any():
        raise FacedistillError(
            f"a pixel feature of {places[rows.start + int(bad.argmax())]}, {view}, is NaN or "
            "beyond 65,504, the largest number of fp16: check the teacher's weights, or embed "
            "without --tokens and teach online"
        )
    numbers = np.arange(places.start + rows.start, places.start + rows.stop)
    table[f"{view}_pixels_sum"][0, rows] = pixel_sums(numbers, table["key"][0, rows], target)


def _describe(folder: Path, info: BankInfo) -> None:
    """Before the first rows are written, write what the bank says of itself."""
    # Another process may have begun another bank there meanwhile.
    info = _checked(folder, info)
    if not _has_shards(folder):
        write_info(folder, info)


def _write_shard(folder: Path, shard: int, table: np.ndarray, info: BankInfo) -> None:
    _describe(folder, info)
    with atomic_path(shard_path(folder, shard)) as temporary, temporary.open("wb") as file:
        np.save(file, table, allow_pickle=False)
