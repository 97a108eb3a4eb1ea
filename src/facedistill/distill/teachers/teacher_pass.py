"""One pass of a network over faces, before training."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing

import numpy as np
import torch

from facedistill.core.reading_ahead import read_ahead
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.resized import Resized
from facedistill.distill.teachers.base import Network
from facedistill.models.inference import BATCH, infer
from facedistill.models.outputs import Outputs

THREADS = 2
"""How many images are read at a time."""


def answers(
    network: Network,
    faces: FaceDataset,
    indices: np.ndarray,
    needs: Collection[str],
    *,
    description: str,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[np.ndarray, Outputs]]:
    """Give a network's outputs for chosen faces, batch by batch, without gradient.

    Images that do not decode are left out: training has its own word on them.

    Args:
        network: The network; it follows to the device.
        faces: Where the images are; they are scaled to the network's size.
        indices: int (n,): which of them.
        needs: Outputs to ask for.
        description: Of the progress bar.
        device: Where to run a torch network.

    Yields:
        The labels int64 (b,) of a batch, and the outputs.

    Raises:
        FacedistillError: If a crop is not square.
    """
    scaled = Resized(faces, network.input.size)
    reading = read_ahead(scaled.if_decodable, indices.tolist(), THREADS, 2 * BATCH)
    with closing(reading) as samples:
        for batch in infer(
            network,
            samples,
            len(indices),
            needs,
            image=lambda sample: sample.image,
            device=device,
            description=description,
        ):
            yield np.array([sample.label for sample in batch.items], np.int64), batch.outputs
