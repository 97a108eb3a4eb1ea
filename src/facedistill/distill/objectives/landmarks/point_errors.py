"""What landmarks out of place cost."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.base import Loss
from facedistill.distill.objectives.precision import at_least_float32

Form = Literal["squared", "smooth_l1", "wing"]

BEND = 0.01
"""Where `smooth_l1` turns from a parabola into a line: a hundredth of the side."""
WING_WIDTH, WING_CURVATURE = 10 / 256, 2 / 256
"""w = 10 and epsilon = 2 pixels of 256, as fractions of the side."""


def regression_loss(found: Tensor, wanted: Tensor, form: Form = "squared") -> Tensor:
    """Return each face's loss, summed over its coordinates, as (B,) float32 or float64.

    With d the difference of a coordinate as a fraction of the side, `squared` is 1/2 d^2 (Wang, Lan
    and Zhang, arXiv 1709.02929: 1/2 ||y - R_s||^2), `smooth_l1` is d^2 / (2 b) below b = 0.01 and
    |d| - b / 2 above, and `wing` is w ln(1 + |d| / e) below w and |d| - C above (Feng et al., "Wing
    loss", CVPR 2018), w = 10 and e = 2 pixels of an image of 256.

    Args:
        found: (B, P, 2), fractions of the image's sides.
        wanted: (B, P, 2).
        form: One of the three.
    """
    difference = at_least_float32(found) - at_least_float32(wanted)
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


def landmark_loss(found: Tensor, wanted: Tensor, form: Form) -> Loss:
    """Return `regression_loss`, mean over faces, and the mean distance of a point as a part."""
    check_points(found, wanted)
    distance = (
        (at_least_float32(found.detach()) - at_least_float32(wanted.detach())).norm(dim=2).mean()
    )
    return regression_loss(found, wanted, form).mean(), {"distance": distance}
