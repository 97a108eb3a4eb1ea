"""What finds landmarks, asked for all faces of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol, TypeVar

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.reading_ahead import read_ahead
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.resized import Resized
from facedistill.models.inference import infer
from facedistill.models.outputs import Outputs, landmarks_of
from facedistill.runtime.input_spec import InputSpec

T = TypeVar("T")


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
    network: Locator,
    faces: FaceDataset,
    *,
    batch_size: int = 64,
    workers: int = 2,
    device: torch.device | str | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the landmarks that a network finds in square crops, and the true ones.

    Args:
        network: Finds landmarks.
        faces: Loose crops.
        batch_size: Images a step.
        workers: How many images are read at a time.
        device: Where the network goes, if it is a torch module; where it is by default.

    Returns:
        float32 (N, P, 2) found and (N, Q, 2) true, fractions of the sides; None for the latter
        where the faces have none.

    Raises:
        FacedistillError: If the network finds no landmarks, or an image is damaged or not square.
    """
    check_locator(network)
    if device is not None and isinstance(network, torch.nn.Module):
        network.to(device)
    resized = Resized(faces, network.input.size)
    found, truth = [], []
    for samples, landmarks in infer_landmarks(
        network,
        resized.__getitem__,
        len(resized),
        image=lambda sample: sample.image,
        batch_size=batch_size,
        workers=workers,
        description="finding landmarks",
    ):
        found.append(landmarks)
        truth += [sample.landmarks for sample in samples if sample.landmarks is not None]
    return np.concatenate(found), np.stack(truth) if truth else None


def infer_landmarks(
    network: Locator,
    item: Callable[[int], T],
    count: int,
    *,
    image: Callable[[T], np.ndarray],
    batch_size: int,
    workers: int,
    description: str,
) -> Iterator[tuple[list[T], np.ndarray]]:
    """Give items batch by batch with the landmarks that a network finds in their images.

    Args:
        network: Finds landmarks; see `check_locator`.
        item: Gives item 0..count-1; called by threads, ahead of the network.
        count: Number of items.
        image: Gives an item's image, uint8 RGB (H, H, 3), all of one size.
        batch_size: Images a step.
        workers: How many items are read at a time.
        description: Label of the progress bar.

    Yields:
        The items of a batch, and float32 (B, P, 2), fractions of the images' sides.
    """

    def located(images: torch.Tensor, _: set[str]) -> Outputs:
        return Outputs(landmarks=network.locate(images.numpy()))

    with closing(read_ahead(item, range(count), workers, 2 * batch_size)) as items:
        for batch in infer(
            located,
            items,
            count,
            {"landmarks"},
            image=image,
            batch_size=batch_size,
            description=description,
        ):
            yield batch.items, landmarks_of(batch.outputs).cpu().numpy()


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
