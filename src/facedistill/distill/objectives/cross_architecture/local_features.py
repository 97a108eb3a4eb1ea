"""The mapping to local features: learned centres that ask the pixels of a network.

A Transformer's tokens and a CNN's pixels see different parts of the face, and there are not as many
of them. Both are mapped to L local features by the same learned questions.
"""

from __future__ import annotations

from math import isqrt
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from facedistill.distill.objectives.cross_architecture.place_features import place_features

Table = Literal["zeros", "random"]
"""What the learned vectors of the positional encoding begin as."""


def _linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Return a linear map that keeps the variance: with less, all attention starts uniform."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class LocalCentres(nn.Module):
    """L centres that ask the pixels: q_l = c_l W_q + b_l.

    Args:
        count: L, a square number.
        width: d.
        buckets: int64 (L,): the bucket of each centre's distance; None for no encoding.
        size: Number of buckets.
        places: (L, d) features of each centre's own place (`_placed`); None for none.
        table: What the vectors b of the buckets begin as: zeros, as in iRPE, or drawn from a
            standard normal distribution, as an entry of c_l W_q is.
        fixed: c_l are the features of the places on the grid, scaled to mean square 1, and do not
            learn; else they are learned, from a standard normal distribution on.
    """

    bucket: torch.Tensor
    centres: torch.Tensor
    places: torch.Tensor | None

    def __init__(
        self,
        count: int,
        width: int,
        buckets: torch.Tensor | None,
        size: int,
        places: torch.Tensor | None = None,
        table: Table = "zeros",
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("places", places, persistent=False)
        if fixed:
            self.register_buffer(
                "centres", width**0.5 * place_features(isqrt(count), width).float()
            )
        else:
            self.centres = nn.Parameter(torch.randn(count, width))
        self.query = _linear(width, width, bias=False)
        self.table: nn.Parameter | None = None
        if buckets is not None:
            make = torch.zeros if table == "zeros" else torch.randn
            self.table = nn.Parameter(make(size, width))
            # A checkpoint keeps it: the saliency behind it may have been lost meanwhile.
            self.register_buffer("bucket", buckets)

    def forward(self) -> torch.Tensor:
        """Return the queries (L, d)."""
        queries = self.query(self.centres)
        if self.table is not None:
            queries = queries + self.table[self.bucket]
        return _placed(queries, self.places)


class LocalFeatures(nn.Module):
    """Cross-attention of one network: from N pixel features to L local ones.

    e_lj = q_l (f_j W_k + b_j)^T / sqrt(d), h_l = sum_j softmax_j(e_lj) f_j W_v, where f are the
    network's features after its own linear projection to d.

    Args:
        channels: C of the network.
        width: d.
        places: (side^2, d) features of each pixel's place (`_placed`); None for none.
        buckets: int64 (side^2,): the bucket of each pixel's distance, for b_j; None for no b_j.
    """

    bucket: torch.Tensor | None
    places: torch.Tensor | None

    def __init__(
        self,
        channels: int,
        width: int,
        places: torch.Tensor | None = None,
        buckets: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("bucket", buckets)
        self.project = _linear(channels, width)
        self.key = _linear(width, width, bias=False)
        self.value = _linear(width, width, bias=False)

    def forward(
        self, queries: torch.Tensor, pixels: torch.Tensor, table: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return local features and where the centres look.

        Args:
            queries: (L, d).
            pixels: (B, N, C).
            table: (buckets, d), the vectors of which b_j are some; prompts have none.

        Returns:
            h (B, L, d), and the attention (B, L, N).
        """
        pixels = self.project(pixels)
        keys = self.key(pixels)
        if self.bucket is not None and table is not None:
            keys = keys + F.pad(table[self.bucket], (0, 0, 0, keys.shape[1] - len(self.bucket)))
        keys = _placed(keys, self.places)
        scores = queries @ keys.transpose(1, 2) / queries.shape[1] ** 0.5
        attention = scores.softmax(dim=2)
        return attention @ self.value(pixels), attention


def grid_places(side: int, width: int, scale: float | None) -> torch.Tensor | None:
    """Return the features of a grid's places, such that two of one place score `scale`."""
    if scale is None:
        return None
    return (scale * width**0.5) ** 0.5 * place_features(side, width).float()


def _placed(features: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
    """Add the features of their places to queries (L, d) or keys (B, N, d).

    What is added to is first brought to mean square 1, so that no network's scale, now or later in
    training, drowns the places. Rows behind the places are prompts and get none.
    """
    if places is None:
        return features
    behind = features.shape[-2] - len(places)
    return F.rms_norm(features, features.shape[-1:]) + F.pad(places, (0, 0, 0, behind))


class SelfAttention(nn.Module):
    """Multi-head self-attention over the local features of one image, with a shortcut past it.

    Without the shortcut features of centres that are alike would be mixed to one and the same
    average.

    Args:
        width: d.
        heads: Of d / heads channels each.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"width {width} is no multiple of heads {heads}")
        self.heads = heads
        self.split = _linear(width, 3 * width, bias=False)
        self.merge = _linear(width, width, bias=False)

    def forward(self, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (B, L, d) and attention maps (B, heads, L, L) of h (B, L, d)."""
        parts = self.split(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        attention = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=3)
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        return h + self.merge(mixed), attention
