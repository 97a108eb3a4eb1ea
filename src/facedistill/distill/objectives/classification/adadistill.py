"""AdaDistill: class centres follow the teacher as fast as the student does."""

from __future__ import annotations

from typing import Any, Literal

import torch

from facedistill.data.batch import Batch
from facedistill.distill.objectives.classification.fixed_centres import FixedCentres
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.embedding_memory import last_occurrence
from facedistill.distill.objectives.relations.relation import unit
from facedistill.models.outputs import Outputs, embedding_of

_LEAST = 1e-6
"""Least weight, so that a centre never turns away from what it was."""


@objective("adadistill")
class AdaDistill(FixedCentres):
    """Margin softmax on class centres that each image moves towards the teacher's embedding.

    w_y <- a w_y + (1 - a) f_t before the loss, with unit f_t, a = clip(cos(f_s, f_t) b, 1e-6, 1)
    and b = clip(cos(w_y, f_t), 1e-6, 1): while the student is far from the teacher its target is
    the teacher's embedding of this very image, later the identity's mean. Mean over the batch; 0 to
    infinity.

    Of an identity that is in a batch twice the last image moves the centre, over all processes; the
    source's processes have centres each of their own.

    Source: Boutros, Struc and Damer, "AdaDistill" (ECCV 2024).

    Args:
        context: What it may ask of the run.
        head: `arcface`, `cosface`, `adaface`, `combined` or `softmax`.
        centres: Where they start: `random` as in the source, or `teacher`, its mean
            embeddings.
        projection: Allow a learned linear map on the student side where the dimensions differ.
        **options: The head's own: scale (64), m (0.45 with arcface), gradient, ...
    """

    def __init__(
        self,
        context: RunContext,
        *,
        head: str = "arcface",
        centres: Literal["random", "teacher"] = "random",
        projection: bool = True,
        **options: Any,
    ) -> None:
        if head == "arcface":
            options.setdefault("m", 0.45)
        super().__init__(context, head, projection, **options)
        if centres == "teacher":
            self.needs = self.needs | {"run.class_centres"}
            self.head.weight.copy_(context.class_centres)

    @torch.no_grad()
    def observe(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Move the centres of the identities in the micro-batch, of all processes."""
        of_student, target = unit(self.projected(student)), unit(embedding_of(teacher))
        labels, of_student, target = gathered(batch.labels, of_student, target)
        centres = self.head.weight[labels]
        near = (unit(centres) * target).sum(dim=1).clamp(_LEAST, 1)
        kept = ((of_student * target).sum(dim=1) * near).clamp(_LEAST, 1)[:, None]
        moved = kept * centres + (1 - kept) * target
        # Every occurrence writes the same row, so that parallel writes cannot race.
        self.head.weight[labels] = moved[last_occurrence(labels)].to(centres.dtype)
