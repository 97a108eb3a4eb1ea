"""Landmarks from labels: coordinates to regress."""

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


@objective("landmark_regression")
class LandmarkRegression(Objective):
    """1/2 ||y - R_s||^2: the student's points lie where the labels say.

    Source: Wang, Lan and Zhang (arXiv 1709.02929), alignment: regression on normalised coordinates,
    here fractions of the image's sides. Sum over a face's coordinates, mean over the batch.

    Args:
        context: What it may ask of the run.
        form: `squared`, as in the paper, or `smooth_l1` or `wing` (see `regression_loss`).
    """

    needs = frozenset({"student.landmarks", "batch.landmarks", "run.landmarks", "run.faces"})

    def __init__(self, context: RunContext, *, form: Form = "squared") -> None:
        super().__init__()
        self.form = form

    @classmethod
    def check(cls, context: RunContext, options: Mapping[str, Any]) -> None:
        """Refuse data without landmarks, or with others than the student gives."""
        counts, name = context.landmarks, context.faces.name if context.faces else "the data"
        if counts.data is None:
            raise FacedistillError(
                f"objective 'landmark_regression' needs landmarks and {name} has none: give "
                "a landmark list, a folder with .pts files or procedural faces"
            )
        if counts.student is not None and counts.data != counts.student:
            raise FacedistillError(
                f"{name} has {counts.data} landmarks a face and student.landmarks is "
                f"{counts.student}: set it to {counts.data}"
            )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the mean distance of a point, as a fraction of the side."""
        if batch.landmarks is None:
            raise FacedistillError("objective 'landmark_regression' needs data with landmarks")
        return landmark_loss(landmarks_of(student), batch.landmarks, self.form)
