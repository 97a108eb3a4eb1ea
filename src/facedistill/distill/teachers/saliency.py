"""The teacher's saliency map: where on an aligned face its last features are strong."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.selection import evenly_spread
from facedistill.distill.bank.tensor_cache import kept_tensor, stem_beside
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.teachers.base import Network
from facedistill.distill.teachers.teacher_pass import answers
from facedistill.models.face_network import FaceNetwork

TOP = 6.0
"""The map's highest value."""

FACES = 4096
"""Most faces that are looked at: a mean over more does not change any more."""

FLAT = 0.05
"""Mean norms that range over less than this share of their mean are warned of."""

_FORMAT = b"2"


def saliency_map(
    network: Network,
    pixels: PixelFeatures,
    faces: FaceDataset,
    beside: str | Path,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Return the mean norm of a teacher's last pixel features over aligned faces, scaled.

    It is measured before the network's last norm (`Backbone.last_norm`), behind which every token
    of a Transformer is about as long as any other. A network that ends without one, as CNNs do, is
    measured as it is.

    Source: cross-architecture distillation (Zhao et al., ACM MM 2023), the saliency distance of its
    facial positional encoding. The mean norms are kept beside the teacher, in a file
    `STEM-saliency-....safetensors` that is bound to its weights and to the faces.

    Args:
        network: The teacher, without prompts.
        pixels: Where its last pixel features are.
        faces: The training faces; `FACES` of them, evenly spread, are looked at.
        beside: The teacher's file, or the folder it is in.
        device: Where to run it.

    Returns:
        float32 (side, side) on the CPU, scaled linearly to 0 (least) .. `TOP` (most); all 0 where
        no place is stronger than another. Where they hardly differ (`FLAT`) it warns.

    Raises:
        FacedistillError: If none of the faces decodes.
    """
    digest = hashlib.blake2b(_FORMAT, digest_size=16)
    digest.update(f"{network.fingerprint} {faces.fingerprint} {pixels} {FACES}".encode())
    shape = (pixels.side, pixels.side)
    norms = kept_tensor(
        stem_beside(beside, "saliency"),
        digest.hexdigest(),
        shape,
        lambda: mean_norms(network, pixels, faces, device),
    )
    _warn_of_flat(norms, network.name)
    return scaled_to_top(norms)


def mean_norms(
    network: Network,
    pixels: PixelFeatures,
    faces: FaceDataset,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Return float64 (side, side): the mean norm over channels at each pixel; see `saliency_map`.

    Raises:
        FacedistillError: If none of the faces decodes.
    """
    indices = evenly_spread(len(faces), FACES)
    total, count = torch.zeros(pixels.side, pixels.side, dtype=torch.float64), 0
    passed = answers(
        network, faces, indices, {pixels.output}, description="saliency", device=device
    )
    with _without_last_norm(network):
        for labels, outputs in passed:
            total += pixels.grid(outputs).double().norm(dim=1).sum(dim=0).cpu()
            count += len(labels)
    if not count:
        raise FacedistillError(f"no image of {faces.name} decodes: there is nothing to learn from")
    return total / count


@contextmanager
def _without_last_norm(network: Network) -> Iterator[None]:
    """Let what the last norm is given pass it unchanged for a while."""
    norm = network.backbone.last_norm if isinstance(network, FaceNetwork) else None
    if norm is None:
        yield
        return
    passing = norm.register_forward_hook(lambda _norm, given, _normed: given[0])
    try:
        yield
    finally:
        passing.remove()


def _warn_of_flat(norms: torch.Tensor, name: str) -> None:
    share = float((norms.max() - norms.min()) / norms.mean().clamp(min=1e-30))
    if share < FLAT:
        warnings.warn(
            f"the features of {name} are about as strong everywhere on the face (their mean norm "
            f"ranges over {share:.2%} of its mean), which the saliency map stretches to 0 .. "
            f"{TOP:g}: position: euclid does without it",
            stacklevel=3,
        )


def scaled_to_top(values: torch.Tensor) -> torch.Tensor:
    """Return values scaled linearly to 0 .. `TOP`."""
    low, high = values.min(), values.max()
    return TOP * (values - low) / (high - low) if high > low else torch.zeros_like(values)
