"""Making banks: from a teacher network, or of embeddings a user already has."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.npy import NpyFile, open_embeddings
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import (
    MAX_DIMENSION,
    VIEWS,
    BankInfo,
    StoredPixels,
    fits_shard,
    rows_per_shard,
)
from facedistill.distill.bank.writing import embed_bank, import_bank
from facedistill.distill.objectives.cross_architecture.pixel_features import find_pixel_features
from facedistill.distill.teachers.base import Network

_BLOCK = 4096
"""Rows hashed at once."""


def embed_teacher(
    network: Network,
    dataset: FaceDataset,
    folder: str | Path,
    *,
    flip: bool = True,
    batch_size: int = 64,
    workers: int = 0,
    licence: str = "unknown",
    tokens: bool = False,
) -> Bank:
    """Embed a data set with a teacher, going on where an earlier call was cut off.

    Args:
        network: The teacher; it converts the raw crops for itself.
        dataset: The faces.
        folder: The bank's folder.
        flip: Embed the mirrored images too.
        batch_size: Images per forward pass.
        workers: Processes that read and decode ahead; 0 does it in this one.
        licence: Licence of the teacher's weights, kept in the bank.
        tokens: Keep the teacher's last pixel features too: a Transformer's tokens, a CNN's map.

    Raises:
        FacedistillError: If the folder holds another bank, an image does not decode, or the
            teacher gives NaN, or no pixel features where they are wanted.
    """
    if isinstance(network, torch.nn.Module):
        network.eval()
        if torch.cuda.is_available():
            network.cuda()
    info = _sized(
        BankInfo(
            teacher=network.fingerprint,
            teacher_name=network.name,
            dataset=dataset.fingerprint,
            dataset_name=dataset.name,
            count=len(dataset),
            dimension=network.embedding_size,
            views=VIEWS if flip else VIEWS[:1],
            licence=licence,
            pixels=_pixels_of(network) if tokens else None,
        )
    )
    return embed_bank(network, dataset, folder, info=info, batch_size=batch_size, workers=workers)


def _pixels_of(network: Network) -> StoredPixels:
    """Return the layout of a teacher's pixel features, without prompts."""
    found = find_pixel_features(network)
    if found is None:
        raise FacedistillError(
            f"--tokens: {network.name} gives embeddings only: leave it out, or give --teacher a "
            ".safetensors, .pt, .pth or .ckpt file"
        )
    return StoredPixels(found.output, found.channels, found.side)


def _sized(info: BankInfo) -> BankInfo:
    """Return what a bank will say of itself, with as many rows per shard as suit it.

    Raises:
        FacedistillError: If its pixel features are too many to keep.
    """
    rows = rows_per_shard(info.count, info.row_bytes if info.pixels else 0)
    sized = replace(info, rows=rows)
    if not fits_shard(sized):
        raise FacedistillError(
            f"--tokens: the pixel features of {info.count:,} images are "
            f"{info.count * info.row_bytes / 2**30:,.0f} GiB, more than a bank keeps: leave it out "
            "and teach online"
        )
    return sized


def import_embeddings(
    path: str | Path,
    dataset: FaceDataset,
    folder: str | Path,
    *,
    flipped: str | Path | None = None,
    licence: str = "unknown",
) -> Bank:
    """Make a bank of a user's `.npy`: (N, D) float embeddings in the data set's record order.

    Args:
        path: Embeddings of the plain images.
        dataset: The faces they belong to.
        folder: The bank's folder.
        flipped: Embeddings of the mirrored images, if had.
        licence: Licence of the teacher's weights, kept in the bank.

    Raises:
        FacedistillError: If a file is no float array or does not fit the data.
    """
    plain = _load(Path(path))
    mirrored = None if flipped is None else _load(Path(flipped))
    info = BankInfo(
        teacher=f"imported:{_digest(plain, mirrored)}",
        teacher_name=Path(path).name,
        dataset=dataset.fingerprint,
        dataset_name=dataset.name,
        count=len(dataset),
        dimension=plain.shape[1],
        views=VIEWS[:1] if mirrored is None else VIEWS,
        rows=rows_per_shard(len(dataset)),
        licence=licence,
    )
    return import_bank(plain, dataset, folder, info=info, flipped=mirrored)


def _load(path: Path) -> NpyFile:
    try:
        opened = open_embeddings(path)
    except FileNotFoundError:
        raise FacedistillError(f"{path}: no such file; give a .npy of embeddings") from None
    if opened.shape[1] > MAX_DIMENSION:
        raise FacedistillError(f"{path}: {opened.shape[1]:,} dimensions, at most {MAX_DIMENSION:,}")
    return opened


def _digest(*files: NpyFile | None) -> str:
    """Hash embeddings block by block: they may be larger than memory."""
    digest = hashlib.blake2b(digest_size=16)
    for file in (file for file in files if file is not None):
        for start in range(0, len(file), _BLOCK):
            digest.update(np.ascontiguousarray(file[start : start + _BLOCK]).data)
    return digest.hexdigest()
