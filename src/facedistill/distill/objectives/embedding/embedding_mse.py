"""Objectives that compare raw embeddings: mean-squared error and smooth L1."""

from __future__ import annotations

from typing import Literal

from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.projection import linear_projection
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs, embedding_of


@objective("embedding_mse")
class EmbeddingError(Objective):
    """Mean over batch and dimensions of the error between student and teacher embeddings.

    On unit vectors (`normalise: true`) the squared error is 2 (1 - cos) / D: multiply the weight
    by D/2 to compare with `fcd`. On raw embeddings the norm, which carries image quality, is
    learned too (the hint loss of FitNets, Romero et al. 2015, on the last layer).

    Args:
        context: What it may ask of the run.
        normalise: Compare unit vectors.
        distance: `squared` or `smooth_l1` (transition at 1).
        projection: Allow a learned linear map where the dimensions differ.
    """

    needs = frozenset({"student.embedding", "teacher.embedding"})

    def __init__(
        self,
        context: RunContext,
        *,
        normalise: bool = False,
        distance: Literal["squared", "smooth_l1"] = "squared",
        projection: bool = True,
    ) -> None:
        super().__init__()
        teacher_size = context.require_teacher()
        self.normalise = normalise
        self.distance = distance
        self.project = linear_projection(context.student_size, teacher_size, projection)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss; it has no parts."""
        of_student = at_least_float32(self.project(embedding_of(student)))
        target = at_least_float32(embedding_of(teacher))
        if self.normalise:
            of_student, target = F.normalize(of_student, dim=1), F.normalize(target, dim=1)
        error = F.mse_loss if self.distance == "squared" else F.smooth_l1_loss
        return error(of_student, target), {}
