"""Similarity-preserving distillation: which images of a batch excite a network alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import BatchRelation
from facedistill.models.outputs import Outputs


def similarity_rows(activation: torch.Tensor) -> torch.Tensor:
    """Return (B, B), A A^T of the (B, D) activations, every row of length 1."""
    return F.normalize(activation @ activation.T, dim=1)


@objective("sp")
class SimilarityPreserving(BatchRelation):
    """||G_s - G_t||_F^2 / B^2, G = A A^T with rows of length 1, A the raw activations.

    Range 0 to 4/B: it shrinks as the batch grows, so a weight belongs to a batch size. The paper
    has 3000, for feature maps and B = 64. On unit embeddings without rows of length 1, as some code
    for faces has it with weight 1, this is `mrd` times (B - 1)/B.

    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation" (ICCV 2019).

    Args:
        context: What it may ask of the run.
        layer: `embedding`, or `map` for the last pixel features, which needs an online teacher.
    """

    def __init__(
        self, context: RunContext, *, layer: Literal["embedding", "map"] = "embedding"
    ) -> None:
        super().__init__(context)
        self.pixels = context.pixel_features if layer == "map" else None
        if self.pixels:
            of_student, target = self.pixels
            self.needs = frozenset(
                {f"student.{of_student.output}", f"teacher.{target.output}", "run.pixel_features"}
            )

    def compared(self, student: Outputs, teacher: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the activations of both networks, (B, D) and (B, E)."""
        if self.pixels is None:
            return super().compared(student, teacher)
        of_student, target = self.pixels
        return of_student.grid(student).flatten(1), target.grid(teacher).flatten(1)

    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss; 0 to 4/B."""
        return (similarity_rows(student) - similarity_rows(teacher)).square().mean()
