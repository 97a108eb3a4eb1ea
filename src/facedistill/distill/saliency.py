"""The teacher's saliency map: where on an aligned face its last features are strong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from facedistill.data.sample import FaceDataset
from facedistill.distill.kept_tensor import kept_tensor, stem_beside
from facedistill.distill.pixel_features import PixelFeatures
from facedistill.distill.teacher import Network
from facedistill.distill.teacher_pass import answers
from facedistill.errors import FacedistillError

TOP = 6.0
"""The map's highest value."""

FACES = 4096
"""Most faces that are looked at: a mean over more does not change any more."""

_FORMAT = b"1"


def saliency_map(
    network: Network,
    pixels: PixelFeatures,
    faces: FaceDataset,
    beside: str | Path,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Return the mean norm of a teacher's last pixel features over aligned faces, from its file.

    Source: cross-architecture distillation (Zhao et al., ACM MM 2023), the saliency distance of its
    facial positional encoding. The file `STEM-saliency-....safetensors` lies beside the teacher and
    is bound to its weights and to the faces.

    Args:
        network: The teacher, without prompts.
        pixels: Where its last pixel features are.
        faces: The training faces; `FACES` of them, evenly spread, are looked at.
        beside: The teacher's file, or the folder it is in.
        device: Where to run it.

    Returns:
        float32 (side, side) on the CPU, scaled linearly to 0 (least) .. `TOP` (most); all 0 where
        no place is stronger than another.

    Raises:
        FacedistillError: If none of the faces decodes.
    """
    digest = hashlib.blake2b(_FORMAT, digest_size=16)
    digest.update(f"{network.fingerprint} {faces.fingerprint} {pixels} {FACES}".encode())
    shape = (pixels.side, pixels.side)
    return kept_tensor(
        stem_beside(beside, "saliency"),
        digest.hexdigest(),
        shape,
        lambda: scaled_to_top(mean_norms(network, pixels, faces, device)),
    )


def mean_norms(
    network: Network,
    pixels: PixelFeatures,
    faces: FaceDataset,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Return float64 (side, side): the mean norm over channels at each pixel."""
    indices = np.unique(np.arange(min(FACES, len(faces))) * len(faces) // min(FACES, len(faces)))
    total, count = torch.zeros(pixels.side, pixels.side, dtype=torch.float64), 0
    said = answers(network, faces, indices, {pixels.output}, description="saliency", device=device)
    for labels, outputs in said:
        total += pixels.grid(outputs).double().norm(dim=1).sum(dim=0).cpu()
        count += len(labels)
    if not count:
        raise FacedistillError(f"no image of {faces.name} decodes: there is nothing to learn from")
    return total / count


def scaled_to_top(values: torch.Tensor) -> torch.Tensor:
    """Return values scaled linearly to 0 .. `TOP`."""
    low, high = values.min(), values.max()
    return TOP * (values - low) / (high - low) if high > low else torch.zeros_like(values)
