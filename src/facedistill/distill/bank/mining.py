"""Informative mining: which identities the teacher finds hardest to tell from each one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import check_labels
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.tensor_cache import Kind, Tensors, kept_tensors

ROWS, COLUMNS = 1024, 32_768
"""Block of cosines held at once: 128 MiB, whatever the number of identities."""
_FORMAT = b"1"
_SLACK = 1e-3
"""How far from 1 the length of a cached prototype may be."""


@dataclass(frozen=True)
class Neighbours:
    """The identities that a teacher confuses most with each identity.

    Attributes:
        prototypes: float32 (M, D), r_m: normalised mean of the teacher's unit embeddings of m.
        indices: int64 (M, K), H_m: the K identities n != m with the largest cosine of r_m and
            r_n, hardest first; of equals the lower number first.
        cosines: float32 (M, K), those cosines.
    """

    prototypes: torch.Tensor
    indices: torch.Tensor
    cosines: torch.Tensor


def mine_neighbours(
    bank: Bank, faces: FaceDataset, count: int, device: torch.device | str = "cpu"
) -> Neighbours:
    """Return each identity's nearest others by the teacher, from the cache beside the bank.

    Source: CoupleFace (Liu et al., ECCV 2022), informative mutual relation mining. The paper's K is
    not known here. The cache is bound to the bank, the images used and their labels, so that
    identities held out for validation are nobody's neighbours.

    Args:
        bank: The teacher's embeddings, plain view.
        faces: The training faces, labelled 0..M-1.
        count: K, 1 or more; all M - 1 others where there are fewer.
        device: Where to compare; the result is on the CPU.

    Raises:
        FacedistillError: If the faces are unlabelled, of one identity alone, or the bank does not
            know them, or an identity has no mean embedding.
    """
    identities = check_labels(faces.labels, faces.name)
    if identities < 2:
        have = "one identity" if identities else "no labels"
        raise FacedistillError(
            f"{faces.name} has {have}, and neighbours are found among labelled identities: give "
            "labelled data of more identities"
        )
    if count < 1:
        raise ValueError(f"{count} neighbours, there must be 1 or more")
    count = min(count, identities - 1)
    rows = bank.rows_of(faces)
    fingerprint = _fingerprint(bank, rows, faces.labels)

    def mine() -> Tensors:
        prototypes = torch.from_numpy(bank.prototypes(rows, faces.labels))
        indices, cosines = nearest(prototypes, count, device)
        return {"prototypes": prototypes, "indices": indices, "cosines": cosines}

    mined = kept_tensors(
        bank.folder / f"neighbours-{fingerprint[:16]}-{count}.safetensors",
        fingerprint,
        {
            "prototypes": Kind((identities, bank.info.dimension)),
            "indices": Kind((identities, count), torch.int64),
            "cosines": Kind((identities, count)),
        },
        mine,
        _check,
        again="neighbours are mined anew",
        unkept="neighbours are not cached and will be mined anew",
    )
    return Neighbours(**mined)


def nearest(
    prototypes: torch.Tensor,
    count: int,
    device: torch.device | str = "cpu",
    *,
    rows: int = ROWS,
    columns: int = COLUMNS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's `count` nearest other rows by cosine, exactly, block by block.

    Args:
        prototypes: float32 (M, D), unit length.
        count: K, 1..M-1.
        device: Where to compare.
        rows: Rows of a block.
        columns: Columns of a block.

    Returns:
        (indices int64 (M, K), cosines float32 (M, K)) on the CPU, nearest first, of equal cosines
        the lower index first.
    """
    size = len(prototypes)
    if not 1 <= count < size:
        raise ValueError(f"{count} nearest of {size} rows, there are 1 to {size - 1}")
    prototypes = prototypes.to(device)
    indices = torch.empty(size, count, dtype=torch.int64)
    cosines = torch.empty(size, count)
    starts = range(0, size, rows)
    for start in track(starts, "neighbours", len(starts), "blocks"):
        block = slice(start, min(start + rows, size))
        indices[block], cosines[block] = nearest_of(prototypes, block, count, columns)
    return indices, cosines


def nearest_of(
    prototypes: torch.Tensor, block: slice, count: int, columns: int = COLUMNS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (indices, cosines) of the nearest others of a block of rows; see `nearest`."""
    parts = _candidates(prototypes, block, count, columns)
    cosines, indices = next(parts)
    for more_cosines, more_indices in parts:
        # Both are sorted and come by ascending index: a stable sort keeps the lower one first.
        cosines, order = torch.cat([cosines, more_cosines], 1).sort(
            dim=1, descending=True, stable=True
        )
        indices = torch.cat([indices, more_indices], 1).gather(1, order)
        cosines, indices = cosines[:, :count], indices[:, :count]
    return indices, cosines


def _candidates(
    prototypes: torch.Tensor, block: slice, count: int, columns: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give the nearest of a block of rows within one block of columns after the other."""
    for start in range(0, len(prototypes), columns):
        stop = min(start + columns, len(prototypes))
        cosines = prototypes[block] @ prototypes[start:stop].T
        selves = torch.arange(
            max(block.start, start), max(block.start, start, min(block.stop, stop))
        ).to(prototypes.device)
        cosines[selves - block.start, selves - start] = -torch.inf
        values, indices = stable_topk(cosines, min(count, stop - start))
        yield values, indices + start


def stable_topk(values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest `count` of each row, of equal values those of lower index first.

    `torch.topk` leaves open which of equal values it takes and in which order; here only the rows
    that hold such values are sorted again.

    Args:
        values: (R, C).
        count: 1..C.

    Returns:
        (values (R, count), indices int64 (R, count)).
    """
    top, where = values.topk(min(count + 1, values.shape[1]), dim=1)
    tied = (top[:, 1:] == top[:, :-1]).any(1).nonzero()[:, 0]
    top, where = top[:, :count], where[:, :count]
    if len(tied):
        ordered, order = values[tied].sort(dim=1, descending=True, stable=True)
        top[tied], where[tied] = ordered[:, :count], order[:, :count]
    return top, where


def _fingerprint(bank: Bank, rows: np.ndarray, labels: np.ndarray) -> str:
    """Hash over what decides the result: bank, images used, and their identities."""
    digest = hashlib.blake2b(_FORMAT + bank.info.mark.tobytes(), digest_size=16)
    for array in (rows, labels):
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    return digest.hexdigest()


def _check(mined: Tensors) -> None:
    indices, cosines = mined["indices"], mined["cosines"]
    identities = len(indices)
    own = torch.arange(identities)[:, None]
    if not ((indices >= 0) & (indices < identities) & (indices != own)).all():
        raise ValueError("a neighbour is out of range")
    if not ((mined["prototypes"].norm(dim=1) - 1).abs() < _SLACK).all():
        raise ValueError("a prototype is not of length 1")
    if not (cosines[:, 1:] <= cosines[:, :-1]).all():
        raise ValueError("its neighbours are out of order")
