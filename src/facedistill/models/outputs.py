"""What a network gives for a batch."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

import torch

from facedistill.core.errors import FacedistillError


@dataclass
class Outputs:
    """A network's answers; those not asked for, or not had, are None.

    Attributes:
        embedding: (B, D) float32, not normalised.
        plain_embedding: (B, D) float32, not normalised, of a prompted network without its prompts.
        feature_map: (B, C, H, W), the last spatial map of a CNN.
        stage_maps: The maps (B, C, H, W) at the ends of its stages, the last being `feature_map`.
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
    stage_maps: list[torch.Tensor] | None = None


def check_needs(network: str, needs: Collection[str], gives: Set[str]) -> None:
    """Refuse to be asked for outputs that a network does not have.

    Args:
        network: What to call it.
        needs: Names of the outputs wanted.
        gives: Names of those it has.

    Raises:
        FacedistillError: Naming what is missing.
    """
    missing = set(needs) - gives
    if missing:
        raise FacedistillError(
            f"network {network} cannot give {', '.join(sorted(missing))}; "
            f"it gives {', '.join(sorted(gives))}"
        )


def embedding_of(outputs: Outputs) -> torch.Tensor:
    """Return the embedding of `outputs`.

    Raises:
        FacedistillError: If the network gave none.
    """
    if outputs.embedding is None:
        raise FacedistillError("the network gave no embedding")
    return outputs.embedding


def landmarks_of(outputs: Outputs) -> torch.Tensor:
    """Return the landmarks of `outputs`.

    Raises:
        FacedistillError: If the network gave none.
    """
    if outputs.landmarks is None:
        raise FacedistillError("the network gave no landmarks")
    return outputs.landmarks
