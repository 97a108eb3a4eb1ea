"""Feature consistency distillation: the student's embedding points where the teacher's does."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.projection import linear_projection
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs, embedding_of


def cosine_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return 1 - cos of the rows of `a` and `b`, both (B, D), as (B,) float32 or float64."""
    a, b = (F.normalize(at_least_float32(x), dim=1) for x in (a, b))
    return 1 - (a * b).sum(dim=1)


@objective("fcd")
class FeatureConsistency(Objective):
    """L_fcd = mean_i (1 - cos(f_s_i, f_t_i)) = 1/2 mean_i ||f_s_i/|f_s_i| - f_t_i/|f_t_i|||^2.

    Source: CoupleFace (Liu et al., ECCV 2022), feature consistency; the same loss is ShrinkTeaNet's
    angular loss. Mean over the batch; range 0 to 2. A mean-squared error over the D coordinates of
    unit vectors is 2/D of this value, so weights do not carry over between the two.

    Args:
        context: What it may ask of the run.
        projection: Allow a learned linear map on the student side where the dimensions differ.
    """

    needs = frozenset({"student.embedding", "teacher.embedding"})

    def __init__(self, context: RunContext, *, projection: bool = True) -> None:
        super().__init__()
        teacher_size = context.require_teacher()
        self.project = linear_projection(context.student_size, teacher_size, projection)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the mean cosine between student and teacher."""
        loss = cosine_distance(self.project(embedding_of(student)), embedding_of(teacher)).mean()
        return loss, {"cosine": 1 - loss.detach()}
