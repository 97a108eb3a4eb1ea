"""Landmarks from the teacher: its points are the target."""

from __future__ import annotations

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective, Setting, objective
from facedistill.distill.objectives.landmarks.point_errors import Form, landmark_loss
from facedistill.models.comparison_embedding import landmarks_of
from facedistill.models.outputs import Outputs


@objective("landmark_imitation")
class LandmarkImitation(Objective):
    """1/2 ||R_t - R_s||^2: the student's points lie where the teacher's do.

    Source: Wang, Lan and Zhang (arXiv 1709.02929), the teacher's task output as the target of
    alignment; it needs no labels. Sum over a face's coordinates, mean over the batch.

    Args:
        setting: Facts about the run.
        form: `squared`, or `smooth_l1` or `wing` (see `regression_loss`).
    """

    needs = frozenset({"student.landmarks", "teacher.landmarks"})

    def __init__(self, setting: Setting, *, form: Form = "squared") -> None:
        super().__init__()
        setting.require_teacher("landmark_imitation")
        self.form = form

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the mean distance of a point, as a fraction of the side."""
        return landmark_loss(landmarks_of(student), landmarks_of(teacher), self.form)
