"""What a network gives for a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Outputs:
    """A network's answers; those not asked for, or not had, are None.

    Attributes:
        embedding: (B, D) float32, not normalised.
        plain_embedding: (B, D) float32, not normalised, of a prompted network without its prompts.
        feature_map: (B, C, H, W), the last spatial map of a CNN.
        tokens: (B, N, C), the last tokens of a Transformer.
        logits: (B, M), class scores without margin.
        landmarks: (B, P, 2) float32, (x, y) as fractions of the input's side: (pixel + 0.5) / side
            (see `faces.landmarks`), the template's five points or as many as were trained.
    """

    embedding: torch.Tensor | None = None
    feature_map: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    landmarks: torch.Tensor | None = None
    plain_embedding: torch.Tensor | None = None
