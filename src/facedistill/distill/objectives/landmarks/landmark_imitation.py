"""Landmarks from the teacher: its points are the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.landmarks.point_errors import Form, landmark_loss
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs, landmarks_of


@objective("landmark_imitation")
class LandmarkImitation(Objective):
    """1/2 ||R_t - R_s||^2: the student's points lie where the teacher's do.

    Source: Wang, Lan and Zhang (arXiv 1709.02929), the teacher's task output as the target of
    alignment; it needs no labels. Sum over a face's coordinates, mean over the batch.

    Args:
        context: What it may ask of the run.
        form: `squared`, or `smooth_l1` or `wing` (see `regression_loss`).
    """

    needs = frozenset({"student.landmarks", "teacher.landmarks", "run.teacher"})

    def __init__(self, context: RunContext, *, form: Form = "squared") -> None:
        super().__init__()
        context.require_teacher()
        self.form = form

    @classmethod
    def check(cls, context: RunContext, options: Mapping[str, Any]) -> None:
        """Refuse a teacher whose points lie elsewhere than in the student's image."""
        if context.teacher and context.teacher.moves_apart:
            raise FacedistillError(
                "objective 'landmark_imitation' follows the teacher's points, and under view: "
                "clean they lie elsewhere than in the mirrored or moved image: set teacher.view: "
                "same, or data.augmentation.flip, shift, scale and rotation to 0"
            )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the mean distance of a point, as a fraction of the side."""
        return landmark_loss(landmarks_of(student), landmarks_of(teacher), self.form)
