"""A prompted teacher stays discriminative: its prompts may not forget what it knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.models.heads.margin import MarginHead, create_head
from facedistill.models.outputs import Outputs, embedding_of

By = Literal["embedding-kl", "logits-kl", "classes"]
"""What is preserved."""


def divergence(prompted: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """Return KL(softmax(prompted) || softmax(plain)) of scores (B, M), mean over the batch."""
    of_student, target = F.log_softmax(prompted, dim=1), F.log_softmax(plain, dim=1)
    return F.kl_div(target, of_student, reduction="batchmean", log_target=True)


@objective("prompt_preservation")
class PromptPreservation(Objective):
    """What keeps a prompted teacher a teacher; it trains the prompts, not the student.

    Source: Zhao et al., ACM MM 2023, the adaptable prompting teacher. With u = f / |f| the prompted
    embedding, u_0 the unprompted network's and C the teacher's frozen class centres, the loss, mean
    over the batch, is one of

    - `embedding-kl`: KL(softmax(s u) || softmax(s u_0)) over the D coordinates, for data without
      labels;
    - `logits-kl`: KL(softmax(s C u) || softmax(s C u_0)) over the M identities;
    - `classes`: the margin softmax of u with the centres C.

    C are the weights of the class head that the teacher was trained with, where that lies beside it
    and is of the training identities; else its mean unit embedding of each of them
    (`class_centres`).

    Which of them the paper takes, and with what scale s, is not known here.

    Args:
        context: What it may ask of the run.
        by: Which of the three; `logits-kl` and `classes` need labels, all need `teacher.prompts`.
        scale: s.
        head: Margin head of `classes`, one of a single margin: `cosface` or `arcface`.
        m: Its margin.
    """

    # It holds the prompts where they are; what moves them is another's.
    adapts_teacher: ClassVar[bool] = False

    def __init__(
        self,
        context: RunContext,
        *,
        by: By = "embedding-kl",
        scale: float = 64.0,
        head: Literal["cosface", "arcface"] = "cosface",
        m: float = 0.4,
    ) -> None:
        super().__init__()
        size = context.require_teacher()
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale}, it must be above 0 and finite")
        self.by, self.scale = by, scale
        self.head: MarginHead | None = None
        if by != "embedding-kl":
            self.head = _frozen_head(context, size, head, scale=scale, m=m)
        reference = set() if by == "classes" else {"teacher.plain_embedding"}
        asked = {"run.identities", "run.class_head", "run.class_centres"} if self.head else set()
        self.needs = frozenset({"teacher.embedding", "run.teacher"} | reference | asked)

    @classmethod
    def check(cls, context: RunContext, options: Mapping[str, Any]) -> None:
        """Refuse to preserve a teacher of which nothing changes."""
        if context.teacher and not context.teacher.trains:
            raise FacedistillError(
                f"objective 'prompt_preservation' is for prompts, and {context.teacher.name} has "
                "none that train: give teacher.prompts, or set objectives.prompt_preservation to "
                "null"
            )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, and the accuracy of `classes` or else the mean cosine with before."""
        prompted = at_least_float32(embedding_of(teacher))
        if self.by == "classes":
            assert self.head is not None
            logits = self.head(prompted, batch.labels)
            accuracy = (logits.argmax(1) == batch.labels).float().mean()
            return F.cross_entropy(logits, batch.labels), {"accuracy": accuracy}
        assert teacher.plain_embedding is not None
        plain = at_least_float32(teacher.plain_embedding)
        loss = divergence(self._scores(prompted), self._scores(plain))
        return loss, {"cosine": F.cosine_similarity(prompted, plain).mean().detach()}

    def _scores(self, embedding: torch.Tensor) -> torch.Tensor:
        if self.head is not None:
            return self.head.logits(embedding)
        return self.scale * F.normalize(embedding, dim=1)


def _frozen_head(context: RunContext, size: int, head: str, **options: float) -> MarginHead:
    """Return a margin head whose centres are the teacher's."""
    classes = context.require_identities()
    own = context.class_head
    sub_centres = own.head.sub_centres if own else 1
    centres = own.head.weight if own else context.class_centres
    made = create_head(head, size, classes, sub_centres=sub_centres, **options)
    made.weight.data.copy_(centres)
    return made.requires_grad_(False)
