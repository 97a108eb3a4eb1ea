"""From a network's last hidden layer to the landmarks of a face."""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_POINTS = 1000

_AVERAGE_FACE = ((0.38, 0.42), (0.62, 0.42), (0.5, 0.52), (0.4, 0.62), (0.6, 0.62))
"""Roughly where the five points of a loose crop are."""


class LandmarkHead(nn.Module):
    """A linear map of the embedding to P points.

    Wang, Lan and Zhang (arXiv 1709.02929), "Alignment": regression on top of the network that
    classifies. It reads the embedding, as recognition does, so a classification student's weights
    start all of a landmark student but this head.

    Args:
        embedding_size: D.
        points: P, 1..1000. Five are the template's; any other number is as the training data says.
    """

    def __init__(self, embedding_size: int, points: int) -> None:
        super().__init__()
        self.points = points
        self.weight = nn.Parameter(torch.empty(2 * points, embedding_size))
        self.bias = nn.Parameter(torch.full((2 * points,), 0.5))
        # The first predictions are an average face and little beside.
        nn.init.normal_(self.weight, std=0.1 / embedding_size**0.5)
        if points == len(_AVERAGE_FACE):
            self.bias.data.copy_(torch.tensor(_AVERAGE_FACE).flatten())

    def forward(self, embedding: Tensor) -> Tensor:
        """Return float32 (B, P, 2), fractions of the image's sides, of embeddings (B, D)."""
        device = embedding.device.type
        # Half precision would be a quarter of a pixel; a context that does nothing stays out of
        # exported graphs.
        half = torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if half else nullcontext():
            points = F.linear(embedding.float(), self.weight, self.bias)
        return points.unflatten(1, (self.points, 2))
