import math

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.landmarks.point_errors import regression_loss
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.contexts import outputs_asked

SETTING = RunContext(student_size=8, teacher_size=8, identities=0)


def points(count=4, number=5, seed=0):
    return torch.rand(count, number, 2, generator=torch.Generator().manual_seed(seed))


def batch(landmarks):
    images = torch.zeros(len(points()), 2, 2, 3, dtype=torch.uint8)
    return Batch(images, -torch.ones(4), torch.zeros(4), np.zeros((4, 16)), landmarks=landmarks)


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


@pytest.mark.parametrize("form", ["squared", "smooth_l1", "wing"])
def test_gradient_leads_to_the_labels(form):
    objective = create_objective("landmark_regression", SETTING, form=form)
    found = points(seed=1).requires_grad_()
    optimiser = torch.optim.Adam([found], lr=0.01)
    for _ in range(300):
        optimiser.zero_grad()
        loss, _ = objective(Outputs(landmarks=found), Outputs(), batch(points()))
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(found.detach(), points(), rtol=0, atol=0.01)


def test_labels_and_the_teacher_teach_alike():
    student, wanted = Outputs(landmarks=points(seed=1)), points()
    by_labels = create_objective("landmark_regression", SETTING)
    by_teacher = create_objective("landmark_imitation", SETTING)
    assert outputs_asked(by_labels) == {"student.landmarks", "batch.landmarks"}
    assert outputs_asked(by_teacher) == {"student.landmarks", "teacher.landmarks"}
    loss, parts = by_labels(student, Outputs(), batch(wanted))
    other, _ = by_teacher(student, Outputs(landmarks=wanted), batch(None))
    difference = points(seed=1) - wanted
    torch.testing.assert_close(loss, 0.5 * difference.square().sum() / 4)
    torch.testing.assert_close(loss, other)
    torch.testing.assert_close(parts["distance"], difference.norm(dim=2).mean())


def test_what_cannot_be_compared_is_refused():
    objective = create_objective("landmark_regression", SETTING)
    with pytest.raises(FacedistillError, match=r"gives 68 landmarks .* student\.landmarks: 5"):
        objective(Outputs(landmarks=points(number=68)), Outputs(), batch(points()))
    with pytest.raises(FacedistillError, match="needs data with landmarks"):
        objective(Outputs(landmarks=points()), Outputs(), batch(None))
    with pytest.raises(
        FacedistillError, match="form is 'l2', it must be one of squared, smooth_l1, wing"
    ):
        create_objective("landmark_regression", SETTING, form="l2")
    with pytest.raises(FacedistillError, match="'landmark_imitation' needs a teacher"):
        create_objective("landmark_imitation", RunContext(8, None, 0))
