"""Relation-aware distillation without labels: a queue of embeddings stands for identities."""

from __future__ import annotations

from typing import ClassVar

import torch

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Gather, Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.embedding_memory import EmbeddingQueue, Storage
from facedistill.distill.objectives.relations.relation import (
    check_penalty,
    penalty,
    relations,
    unit,
)
from facedistill.models.outputs import Outputs, embedding_of


@objective("rad_queue")
class QueueRelationAware(Objective):
    """L = mean over i and the K hardest j in a queue of max(delta_ij - q, 0), without labels.

    delta_ij = R(f_s_i, e_s_j) - R(f_t_i, e_t_j): as `rad`, with the embeddings of the Q images
    before this batch in the place of identities, and in the place of mined identities the K of
    them that the teacher finds nearest to the image itself. Images of one and the same identity are
    among these; there the teacher's cosine is high, so that the one-sided form hardly ever pays
    for them. Mean over i and j; 0 while the queue is empty. Gradients flow into f_s only.

    Source: this project's, after CoupleFace (Liu et al., ECCV 2022), which has labels.

    Args:
        context: What it may ask of the run.
        neighbours: K, hardest images for each; all of the queue where it holds fewer.
        queue: Q, most images that are kept.
        q: Margin, -2 to 2; below 0 the student must be more discriminative than the teacher.
        two_sided: Pay max(|delta| - q, 0).
        squared: Pay the square.
        storage: `fp16` or `fp32`, of the queue.
    """

    needs = frozenset({"student.embedding", "teacher.embedding"})
    adapts_teacher: ClassVar[bool] = False

    def __init__(
        self,
        context: RunContext,
        *,
        neighbours: int = 100,
        queue: int = 4096,
        q: float = 0.03,
        two_sided: bool = False,
        squared: bool = False,
        storage: Storage = "fp16",
    ) -> None:
        super().__init__()
        teacher_size = context.require_teacher()
        check_penalty(q, two_sided)
        if not 1 <= neighbours <= queue:
            raise ValueError(
                f"neighbours is {neighbours}, it must be in 1..{queue}, the queue's size"
            )
        self.count = neighbours
        self.q, self.two_sided, self.squared = q, two_sided, squared
        self.queue = EmbeddingQueue(queue, (context.student_size, teacher_size), storage)
        self._observed: list[tuple[torch.Tensor, torch.Tensor]] = []

    def observe(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Remember the embeddings for the queue."""
        of_student, target = (
            unit(embedding_of(outputs).detach()) for outputs in (student, teacher)
        )
        self._observed.append((of_student, target))

    def finish_step(self, gather: Gather) -> None:
        """Add the whole batch to the queue."""
        columns = zip(*self._observed, strict=True)
        of_student, target = (gather(torch.cat(column)) for column in columns)
        self._observed.clear()
        self.queue.push(of_student, target)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, and the shares of relations that are had and, of those, paid."""
        of_student, target = unit(embedding_of(student)), unit(embedding_of(teacher))
        queue = self.queue.to_device(of_student.device)
        near, similar = self._hardest(target)
        difference = relations(of_student, queue.students, near) - similar
        cost = penalty(difference, self.q, self.two_sided, self.squared)
        count = max(1, cost.numel())
        valid = of_student.new_tensor(near.shape[1] / self.count)
        return cost.sum() / count, {"valid": valid, "paid": (cost > 0).sum() / count}

    @torch.no_grad()
    def _hardest(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows (B, K) of the images nearest by the teacher, and their cosines."""
        # Autocast would multiply in half precision.
        with torch.autocast(target.device.type, enabled=False):
            rows = self.queue.teachers[: self.queue.filled].to(target.dtype)
            similar = target @ rows.T
        cosines, near = similar.topk(min(self.count, self.queue.filled), dim=1)
        return near, cosines
