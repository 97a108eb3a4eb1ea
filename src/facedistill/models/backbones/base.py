"""What every architecture promises, and the ranges its arguments share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

EmbeddingSize = Annotated[int, Field(ge=1, le=8192)]
"""D, the length of an embedding."""

InputSize = Annotated[int, Field(ge=16, le=1024, multiple_of=16)]
"""Side of the square input; every architecture here reduces it by 16 or more."""

Width = Annotated[float, Field(gt=0, le=4)]
"""Multiplies the channels of an architecture's stages."""

DropPathRate = Annotated[float, Field(ge=0, lt=1)]
"""Probability of leaving out a residual branch in training."""


class Backbone(nn.Module, ABC):
    """A network from a normalised image to an embedding, split at its last spatial map.

    Attributes:
        embedding_size: D.
        feature_channels: C, the channels of the last spatial map.
        gives: Names of the outputs that a network with this backbone can be asked for.
    """

    gives: frozenset[str] = frozenset({"embedding", "feature_map"})
    embedding_size: int
    feature_channels: int

    @property
    def last_norm(self) -> nn.Module | None:
        """The norm that the last spatial map comes out of, place by place; None without one."""
        return None

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (B, C, H, W) of float images (B, 3, S, S)."""

    @abstractmethod
    def forward_head(self, features: Tensor) -> Tensor:
        """Return embeddings (B, D), not normalised, of a last spatial map (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings (B, D), not normalised, of float images (B, 3, S, S)."""
        return self.forward_head(self.forward_features(x))


class StagedBackbone(Backbone):
    """A CNN that tells the map at the end of each of its stages."""

    gives: frozenset[str] = Backbone.gives | {"stage_maps"}

    @abstractmethod
    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return maps (B, C, H, W) of float images (B, 3, S, S), the last that for the head."""

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (B, C, H, W) of float images (B, 3, S, S)."""
        return self.forward_stages(x)[-1]


class TokenBackbone(Backbone):
    """A Transformer. Its last tokens are the places of its last spatial map, row by row.

    It can be prompted (Zhao et al., ACM MM 2023, "adaptable prompting teacher"): each of its stages
    takes tokens beside the image's own, which the next stage does not see.

    Attributes:
        patch: Side in pixels of the patches that become tokens.
        prompt_widths: Channels of the prompts of each stage.
        norm: The layer norm of the last tokens.
        checkpointing: Whether blocks are computed again in the backward pass: less memory for more
            time, and the same gradients. It may be switched at any time.
    """

    gives: frozenset[str] = frozenset({"embedding", "feature_map", "tokens"})
    patch: int
    prompt_widths: tuple[int, ...]
    norm: nn.LayerNorm
    checkpointing: bool

    @property
    def last_norm(self) -> nn.Module:
        """The layer norm of the last tokens."""
        return self.norm

    @abstractmethod
    def forward_prompted(
        self, x: Tensor, prompts: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the last spatial map and the last stage's prompts after it.

        Args:
            x: Float images (B, 3, S, S).
            prompts: For each stage (B, t, C) with the stage's own C, or None for none.

        Returns:
            (B, C, H, W), and (B, t, C) or None.
        """

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (B, C, H, W) of float images (B, 3, S, S)."""
        return self.forward_prompted(x, [None] * len(self.prompt_widths))[0]


def tokens_of(feature_map: Tensor) -> Tensor:
    """Return the places of a map (B, C, H, W) as tokens (B, H W, C), row by row."""
    return feature_map.flatten(2).transpose(1, 2)


class DropPath(nn.Module):
    """Leave a residual branch out, image by image, in training (stochastic depth).

    Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016. A branch that stays is scaled
    so that its mean does not change.

    Args:
        rate: Probability of leaving it out.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ...) to the same shape."""
        if not self.training or self.rate == 0:
            return x
        stays = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * stays / (1 - self.rate)


def initialise_linear(module: nn.Module) -> None:
    """Draw the weights of a linear layer as Transformers do; leave any other module alone."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded to a multiple of 8 that is at least 8."""
    return max(8, round(channels * width / 8) * 8)
