"""Triplet distillation: a larger margin between identities that the teacher finds less alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.embedding.triplet import all_triplets, distances
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs, embedding_of


@objective("triplet_distillation")
class TripletDistillation(Objective):
    """[d_s(a, p) - d_s(a, n) + m]_+ on squared distances of unit embeddings, margin m by teacher.

    m = smallest + (largest - smallest) g / g_max, with the teacher's gap g = [d_t(a, n) -
    d_t(a, p)]_+ of the triplet and g_max the largest of the batch. Triplets are all valid ones of
    the micro-batch, of all processes; mean over the active ones, since almost all others cost
    nothing (the source: over the triplets of its sampler). Range 0 to 4 + largest; it needs batches
    in which identities are there more than once.

    Source: Feng et al., "Triplet Distillation for Deep Face Recognition" (ICIP 2020).

    Args:
        context: What it may ask of the run.
        smallest: Margin where the teacher sees no gap, 0 or more.
        largest: Margin of the batch's widest gap, at most 4.
    """

    needs = frozenset(
        {
            "student.embedding",
            "teacher.embedding",
            "run.identities",
            "run.images_per_identity",
        }
    )
    adapts_teacher: ClassVar[bool] = False

    def __init__(self, context: RunContext, *, smallest: float = 0.2, largest: float = 0.5) -> None:
        super().__init__()
        context.require_teacher()
        context.require_identities()
        if not 0 <= smallest <= largest <= 4:
            raise ValueError(
                f"margins are {smallest} and {largest}: 0 <= smallest <= largest <= 4 must hold"
            )
        self.smallest, self.largest = smallest, largest

    @classmethod
    def check(cls, context: RunContext, options: Mapping[str, Any]) -> None:
        """Refuse batches that hardly ever show an identity twice."""
        context.get("run.images_per_identity")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, the number of triplets and the share that is active."""
        of_student, target, labels = gathered(
            at_least_float32(embedding_of(student)), embedding_of(teacher), batch.labels
        )
        near, far = all_triplets(distances(of_student, squared=True), labels)
        costs = (near - far + self.margins(target, labels)).clamp_min(0)
        active = (costs.detach() > 0).sum()
        count = of_student.new_tensor(len(costs))
        parts = {"active": active / count.clamp_min(1), "triplets": count}
        return costs.sum() / active.clamp_min(1), parts

    @torch.no_grad()
    def margins(self, embedding: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the margins (T,) of all triplets, by the teacher's embeddings (B, E)."""
        near, far = all_triplets(distances(embedding, squared=True), labels)
        gap = (far - near).clamp_min(0)
        widest = torch.cat([gap, gap.new_full((1,), torch.finfo(gap.dtype).tiny)]).max()
        return self.smallest + (self.largest - self.smallest) * gap / widest
