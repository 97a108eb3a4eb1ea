"""Naive mutual relation distillation: every pair of the batch counts."""

from __future__ import annotations

import torch

from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import BatchRelation, cosines, others


@objective("mrd")
class MutualRelation(BatchRelation):
    """Mean over in-batch pairs i != j of (R(f_s_i, f_s_j) - R(f_t_i, f_t_j))^2.

    Source: CoupleFace (Liu et al., ECCV 2022), the naive form that its mining improves on: most
    random pairs are of identities so unlike that their relation tells nothing. Range 0 to 4. The
    two embeddings may differ in dimension.

    Args:
        context: What it may ask of the run.
    """

    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss; 0 without a pair."""
        difference = cosines(student) - cosines(teacher)
        count = len(difference)
        return (difference.square() * others(difference)).sum() / max(1, count * (count - 1))
