"""One pass of a network over faces, before training."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.resized import Resized
from facedistill.distill.teachers.base import Network
from facedistill.models.outputs import Outputs

BATCH = 64
"""Images at a time."""


def answers(
    network: Network,
    faces: FaceDataset,
    indices: np.ndarray,
    needs: Collection[str],
    *,
    description: str,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[np.ndarray, Outputs]]:
    """Give what a network says of chosen faces, batch by batch, without gradient.

    Images that do not decode are left out: training has its own word on them.

    Args:
        network: In evaluation mode; it follows to the device.
        faces: Where the images are; they are scaled to the network's size.
        indices: int (n,): which of them.
        needs: Outputs to ask for.
        description: Of the progress bar.
        device: Where to run a torch network.

    Yields:
        The labels int64 (b,) of a batch, and what the network says of it.

    Raises:
        FacedistillError: If a crop is not square.
    """
    module = network if isinstance(network, torch.nn.Module) else None
    if module is not None:
        module.eval().to(device)
    scaled = Resized(faces, network.input.size)
    starts = range(0, len(indices), BATCH)
    for start in track(starts, description, len(starts), "batches"):
        found = [_face(scaled, int(i)) for i in indices[start : start + BATCH]]
        good = [(image, label) for image, label in found if image is not None]
        if not good:
            continue
        images = torch.from_numpy(np.stack([image for image, _ in good]))
        if module is not None:
            images = images.to(device)
        with torch.no_grad():
            outputs = network(images, needs)
        yield np.array([label for _, label in good], np.int64), outputs


def sample_faces(faces: FaceDataset, count: int, size: int) -> np.ndarray:
    """Return up to `count` faces that decode, evenly spread: uint8 RGB (n, size, size, 3).

    Raises:
        FacedistillError: If none of them does, or a crop is not square.
    """
    scaled, count = Resized(faces, size), min(count, len(faces))
    found = [_face(scaled, int(i))[0] for i in np.arange(count) * len(faces) // count]
    images = [image for image in found if image is not None]
    if not images:
        raise FacedistillError(f"no image of {faces.name} decodes: there is nothing to look at")
    return np.stack(images)


def _face(faces: Resized, index: int) -> tuple[np.ndarray | None, int]:
    """Return an image, None where it does not decode, and its label."""
    try:
        sample = faces.source[index]
    except FacedistillError:
        return None, -1
    return faces.scaled(index, sample).image, sample.label
