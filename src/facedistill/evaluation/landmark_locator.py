"""What finds landmarks, asked for all faces of a data set."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.resized import Resized
from facedistill.runtime.input_spec import InputSpec


class Locator(Protocol):
    """What finds landmarks: FaceNetwork and OnnxNetwork do."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def input(self) -> InputSpec:
        """What it is fed."""

    @property
    def gives(self) -> frozenset[str]:
        """Outputs it can be asked for."""

    def locate(self, images: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Return (B, P, 2) of uint8 RGB images (B, H, H, 3)."""


def locate_faces(
    network: Locator, faces: FaceDataset, *, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the landmarks that a network finds in square crops, and the true ones.

    Args:
        network: Finds landmarks.
        faces: Loose crops.
        batch_size: Images a step.

    Returns:
        float32 (N, P, 2) found and (N, Q, 2) true, fractions of the sides; None for the latter
        where the faces have none.

    Raises:
        FacedistillError: If the network finds no landmarks, or an image is damaged or not square.
    """
    check_locator(network)
    resized = Resized(faces, network.input.size)
    found, truth = [], []
    starts = range(0, len(resized), batch_size)
    for start in track(starts, "finding landmarks", len(starts), "batches"):
        samples = [resized[i] for i in range(start, min(start + batch_size, len(resized)))]
        images = np.stack([sample.image for sample in samples])
        found.append(network.locate(images).cpu().numpy())
        truth += [sample.landmarks for sample in samples if sample.landmarks is not None]
    return np.concatenate(found), np.stack(truth) if truth else None


def check_locator(network: Locator) -> None:
    """Refuse a network that finds no landmarks.

    Raises:
        FacedistillError: Naming what it gives.
    """
    if "landmarks" not in network.gives:
        raise FacedistillError(
            f"network {network.name} finds no landmarks, it gives "
            f"{', '.join(sorted(network.gives))}: train one with `facedistill train landmarks`"
        )
