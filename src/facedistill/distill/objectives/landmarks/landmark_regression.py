"""Landmarks as coordinates to regress."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective, Setting, objective
from facedistill.models.comparison_embedding import landmarks_of
from facedistill.models.outputs import Outputs

Form = Literal["squared", "smooth_l1", "wing"]

BEND = 0.01
"""Where `smooth_l1` turns from a parabola into a line: a hundredth of the side."""
WING_WIDTH, WING_CURVATURE = 10 / 256, 2 / 256
"""w = 10 and epsilon = 2 pixels of 256, as fractions of the side."""


def regression_loss(found: Tensor, wanted: Tensor, form: Form = "squared") -> Tensor:
    """Return each face's loss, summed over its coordinates, as (B,) float32.

    With d the difference of a coordinate as a fraction of the side, `squared` is 1/2 d^2 (Wang, Lan
    and Zhang, arXiv 1709.02929: 1/2 ||y - R_s||^2), `smooth_l1` is d^2 / (2 b) below b = 0.01 and
    |d| - b / 2 above, and `wing` is w ln(1 + |d| / e) below w and |d| - C above (Feng et al., "Wing
    loss", CVPR 2018), w = 10 and e = 2 pixels of an image of 256.

    Args:
        found: (B, P, 2), fractions of the image's sides.
        wanted: (B, P, 2).
        form: One of the three.
    """
    difference = found.float() - wanted.float()
    if form == "squared":
        each = 0.5 * difference.square()
    elif form == "smooth_l1":
        each = F.smooth_l1_loss(
            difference, torch.zeros_like(difference), reduction="none", beta=BEND
        )
    else:
        size = difference.abs()
        near = WING_WIDTH * torch.log1p(size / WING_CURVATURE)
        offset = WING_WIDTH * (1 - torch.log1p(torch.tensor(WING_WIDTH / WING_CURVATURE)))
        each = torch.where(size < WING_WIDTH, near, size - offset)
    return each.sum(dim=(1, 2))


def check_points(found: Tensor, wanted: Tensor) -> None:
    """Refuse to compare markups of different numbers of points.

    Raises:
        FacedistillError: Naming both numbers.
    """
    if found.shape != wanted.shape:
        raise FacedistillError(
            f"the student gives {found.shape[1]} landmarks and is to learn {wanted.shape[1]}: set "
            f"student.landmarks: {wanted.shape[1]}"
        )


@objective("landmark_regression")
class LandmarkRegression(Objective):
    """1/2 ||y - R_s||^2: the student's points lie where the labels say.

    Source: Wang, Lan and Zhang (arXiv 1709.02929), alignment: regression on normalised coordinates,
    here fractions of the image's sides. Sum over a face's coordinates, mean over the batch.

    Args:
        setting: Facts about the run.
        form: `squared`, as in the paper, or `smooth_l1` or `wing` (see `regression_loss`).
    """

    needs = frozenset({"student.landmarks", "batch.landmarks"})

    def __init__(self, setting: Setting, *, form: Form = "squared") -> None:
        super().__init__()
        self.form = form

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the mean distance of a point, as a fraction of the side."""
        if batch.landmarks is None:
            raise FacedistillError("objective 'landmark_regression' needs data with landmarks")
        return _loss(landmarks_of(student), batch.landmarks, self.form)


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
        return _loss(landmarks_of(student), landmarks_of(teacher), self.form)


def _loss(found: Tensor, wanted: Tensor, form: Form) -> Loss:
    check_points(found, wanted)
    distance = (found.detach().float() - wanted).norm(dim=2).mean()
    return regression_loss(found, wanted, form).mean(), {"distance": distance}
