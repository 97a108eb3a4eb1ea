"""What methods have in common that classify by class centres which the teacher gives."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Classifier, Loss
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.projection import linear_projection
from facedistill.models.heads.margin import create_head
from facedistill.models.outputs import Outputs, embedding_of


class FixedCentres(Classifier):
    """Cross-entropy with a margin, mean over the batch, on class centres no gradient reaches.

    Args:
        context: What it may ask of the run.
        head: A name of `facedistill.models.heads.margin.HEADS`.
        projection: Allow a learned linear map on the student side where the dimensions differ.
        **options: The head's own.

    Attributes:
        head: Its weight holds the centres (M, E), in the teacher's dimension.
    """

    # The teacher is asked even where its centres say everything: a run has no idle teacher.
    needs = frozenset({"student.embedding", "teacher.embedding", "run.identities"})
    adapts_teacher: ClassVar[bool] = False

    def __init__(
        self, context: RunContext, head: str, projection: bool = True, **options: Any
    ) -> None:
        super().__init__()
        size = context.require_teacher()
        identities = context.require_identities()
        if options.get("sub_centres", 1) != 1:
            raise ValueError("sub_centres must be 1: an identity has one centre here")
        self.project = linear_projection(context.student_size, size, projection)
        self.head = create_head(head, size, identities, **options)
        self.head.weight.requires_grad_(False)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the share of the batch classified right in spite of the margin."""
        logits = self.head(self.projected(student), batch.labels)
        right = (logits.argmax(1) == batch.labels).float().mean()
        return F.cross_entropy(logits, batch.labels), {"accuracy": right}

    def projected(self, student: Outputs) -> torch.Tensor:
        """Return the student's embedding in the teacher's dimension (B, E)."""
        return self.project(at_least_float32(embedding_of(student)))

    @property
    def scale(self) -> float:
        """What the logits multiply cosines by."""
        return self.head.scale

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return (B, M) scale times cosine, without margin."""
        return self.head.logits(self.project(embedding))
