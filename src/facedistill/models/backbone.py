"""What every architecture promises, and the ranges its arguments share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

EmbeddingSize = Annotated[int, Field(ge=1, le=8192)]
"""D, the length of an embedding."""

InputSize = Annotated[int, Field(ge=16, le=1024, multiple_of=16)]
"""Side of the square input; every architecture here reduces it by 16 or more."""

Width = Annotated[float, Field(gt=0, le=4)]
"""Multiplies the channels of an architecture's stages."""


class Backbone(nn.Module, ABC):
    """A network from a normalised image to an embedding, split at its last spatial map.

    Attributes:
        embedding_size: D.
        feature_channels: C, the channels of the last spatial map.
    """

    embedding_size: int
    feature_channels: int

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (B, C, H, W) of float images (B, 3, S, S)."""

    @abstractmethod
    def forward_head(self, features: Tensor) -> Tensor:
        """Return embeddings (B, D), not normalised, of a last spatial map (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings (B, D), not normalised, of float images (B, 3, S, S)."""
        return self.forward_head(self.forward_features(x))


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded to a multiple of 8 that is at least 8."""
    return max(8, round(channels * width / 8) * 8)
