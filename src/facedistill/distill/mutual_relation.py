"""Naive mutual relation distillation: every pair of the batch counts."""

from __future__ import annotations

import torch

from facedistill.data.batch import Batch
from facedistill.distill.objective import Loss, Objective, Setting, objective
from facedistill.distill.relation import unit
from facedistill.models.embed import embedding_of
from facedistill.models.outputs import Outputs


def mutual_relation_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean over pairs i != j of (R(s_i, s_j) - R(t_i, t_j))^2; 0 without a pair.

    Args:
        student: (B, D) unit embeddings.
        teacher: (B, E) unit embeddings.
    """
    count = len(student)
    # Autocast would multiply in half precision.
    with torch.autocast(student.device.type, enabled=False):
        difference = student @ student.T - teacher @ teacher.T
    apart = ~torch.eye(count, dtype=torch.bool, device=student.device)
    return (difference.square() * apart).sum() / max(1, count * (count - 1))


@objective("mrd")
class MutualRelation(Objective):
    """Mean over in-batch pairs i != j of (R(f_s_i, f_s_j) - R(f_t_i, f_t_j))^2.

    Source: CoupleFace (Liu et al., ECCV 2022), the naive form that its mining improves on: most
    random pairs are of people so unlike that their relation tells nothing. Range 0 to 4. The two
    embeddings may differ in dimension.

    Args:
        setting: Facts about the run.
    """

    needs = frozenset({"student.embedding", "teacher.embedding"})

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        setting.require_teacher("mrd")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss; it has no parts."""
        ours, theirs = unit(embedding_of(student)), unit(embedding_of(teacher))
        return mutual_relation_loss(ours, theirs), {}
