"""Class centres of an online teacher: its mean embedding of each training identity."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.tensor_cache import kept_tensor, stem_beside
from facedistill.distill.teachers.base import Network
from facedistill.distill.teachers.teacher_pass import answers
from facedistill.models.outputs import embedding_of

IMAGES = 20
"""Most images of an identity that are looked at."""

_FORMAT = b"1"


def class_centres(
    network: Network, faces: FaceDataset, beside: str | Path, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return the normalised mean of a teacher's unit embeddings of each identity, from its file.

    The file `STEM-centres-....safetensors` lies beside the teacher and is bound to its weights and
    to the faces. A bank has these means at hand; see `Bank.prototypes`.

    Args:
        network: The teacher.
        faces: The training faces, labelled 0..M-1; the first `IMAGES` of each identity are used.
        beside: The teacher's file, or the folder it is in.
        device: Where to run it.

    Returns:
        float32 (M, D) of length 1, on the CPU.

    Raises:
        FacedistillError: If no image of an identity decodes, or its embeddings cancel out.
    """
    digest = hashlib.blake2b(_FORMAT, digest_size=16)
    digest.update(f"{network.fingerprint} {faces.fingerprint} {IMAGES}".encode())
    return kept_tensor(
        stem_beside(beside, "centres"),
        digest.hexdigest(),
        (int(faces.labels.max()) + 1, network.embedding_size),
        lambda: mean_embeddings(network, faces, device),
    )


def mean_embeddings(
    network: Network, faces: FaceDataset, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return float64 (M, D), of length 1; see `class_centres`."""
    indices = first_of_each(faces.labels, IMAGES)
    sums = torch.zeros(int(faces.labels.max()) + 1, network.embedding_size, dtype=torch.float64)
    for labels, outputs in answers(
        network, faces, indices, {"embedding"}, description="centres", device=device
    ):
        units = F.normalize(embedding_of(outputs).double(), dim=1).cpu()
        sums.index_add_(0, torch.from_numpy(labels), units)
    lengths = sums.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        raise FacedistillError(
            f"identity {int(lengths.argmin())} of {faces.name} has no mean embedding by "
            f"{network.name}: none of its images decodes, or its embeddings cancel out"
        )
    return sums / lengths


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Return, ascending, the indices of the first `count` images of each identity."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return np.sort(order[(rank < count) & (ordered >= 0)])
