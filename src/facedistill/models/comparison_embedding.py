"""The embedding that faces are compared by, and what else a network was asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from facedistill.core.errors import FacedistillError
from facedistill.models.outputs import Outputs


def comparison_embedding(
    network: Callable[[Tensor], Outputs], images: Tensor, *, flip: bool
) -> Tensor:
    """Return unit embeddings; with `flip`, of the raw sum of plain and mirrored image.

    Args:
        network: Gives `embedding` for uint8 RGB images (B, H, W, 3).
        images: uint8 RGB, (B, H, W, 3).
        flip: Whether to add the embedding of the mirrored image before normalising.

    Returns:
        (B, D) float32 of length 1.
    """
    embedding = embedding_of(network(images))
    if flip:
        embedding = embedding + embedding_of(network(torch.flip(images, dims=[2])))
    return F.normalize(embedding)


def embedding_of(outputs: Outputs) -> Tensor:
    """Return the embedding of `outputs`.

    Raises:
        FacedistillError: If the network gave none.
    """
    if outputs.embedding is None:
        raise FacedistillError("the network gave no embedding")
    return outputs.embedding


def landmarks_of(outputs: Outputs) -> Tensor:
    """Return the landmarks of `outputs`.

    Raises:
        FacedistillError: If the network gave none.
    """
    if outputs.landmarks is None:
        raise FacedistillError("the network gave no landmarks")
    return outputs.landmarks
