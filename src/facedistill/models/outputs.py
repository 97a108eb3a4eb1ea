"""What a network gives for a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Outputs:
    """A network's answers; those not asked for, or not had, are None.

    Attributes:
        embedding: (B, D) float32, not normalised.
        feature_map: (B, C, H, W), the last spatial map of a CNN.
        tokens: (B, N, C), the last tokens of a Transformer.
        logits: (B, M), class scores without margin.
        landmarks: (B, 5, 2), (x, y) in units of the input's side.
    """

    embedding: torch.Tensor | None = None
    feature_map: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    landmarks: torch.Tensor | None = None
