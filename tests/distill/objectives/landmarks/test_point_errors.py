import math

import pytest
import torch

from facedistill.distill.objectives.landmarks.point_errors import regression_loss
from tests.distill.objectives.landmarks.landmark_batches import points


def coordinate_loss(d, form):
    d = abs(d)
    if form == "squared":
        return d * d / 2
    if form == "smooth_l1":
        return d * d / 0.02 if d < 0.01 else d - 0.005
    w, e = 10 / 256, 2 / 256
    return w * math.log(1 + d / e) if d < w else d - (w - w * math.log(1 + w / e))


@pytest.mark.parametrize("form", ["squared", "smooth_l1", "wing"])
def test_loss_is_the_formula_coordinate_by_coordinate(form):
    wanted = points()
    # Differences on both sides of every bend.
    found = wanted + torch.linspace(-0.12, 0.12, wanted.numel()).reshape(wanted.shape)
    expected = [
        sum(coordinate_loss(float(d), form) for d in face.flatten()) for face in found - wanted
    ]
    given = regression_loss(found, wanted, form)
    torch.testing.assert_close(given, torch.tensor(expected), rtol=1e-4, atol=1e-7)
