import math

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.distill.objective import Setting, create_objective
from facedistill.distill.pixel_features import PixelFeatures
from facedistill.errors import FacedistillError
from facedistill.models.outputs import Outputs

from .by_hand import batch_of, times


def made(student=2, teacher=2, **options):
    setting = Setting(
        4, 4, 0,
        student_pixels=PixelFeatures("feature_map", 3, student),
        teacher_pixels=PixelFeatures("tokens", 5, teacher),
    )  # fmt: skip
    return create_objective("fitnet", setting, **options).double()


def by_hand(objective, grid, tokens, normalise):
    """Two images of 2 x 2 pixels, one number at a time; prompts are left out."""
    weight, bias = objective.project.weight[:, :, 0, 0].tolist(), objective.project.bias.tolist()
    total = 0.0
    for image in range(2):
        for place in range(4):
            ours = times(weight, grid[image, :, place // 2, place % 2].tolist())
            theirs = tokens[image, place].tolist()
            if normalise:
                mean = sum(theirs) / 5
                variance = sum((t - mean) ** 2 for t in theirs) / 5
                theirs = [(t - mean) / math.sqrt(variance + 1e-5) for t in theirs]
            for our, offset, their in zip(ours, bias, theirs, strict=True):
                total += (our + offset - their) ** 2
    return total / (2 * 4 * 5)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("prompts", [0, 3])
def test_is_the_mean_over_images_pixels_and_channels(normalise, prompts):
    objective = made(normalise=normalise)
    grid = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    tokens = torch.randn(2, 4 + prompts, 5, dtype=torch.float64)
    loss, parts = objective(Outputs(feature_map=grid), Outputs(tokens=tokens), batch_of([0, 0]))
    assert loss.item() == pytest.approx(by_hand(objective, grid, tokens, normalise), abs=1e-12)
    assert parts == {}


@pytest.mark.parametrize(("student", "teacher"), [(4, 2), (2, 4)])
def test_grids_meet_at_the_smaller_one(student, teacher):
    objective, same = made(student, teacher), made()
    same.load_state_dict(objective.state_dict())
    grid = torch.randn(2, 3, student, student, dtype=torch.float64)
    tokens = torch.randn(2, teacher**2, 5, dtype=torch.float64)
    loss, _ = objective(Outputs(feature_map=grid), Outputs(tokens=tokens), None)
    if student == 4:
        grid = grid.unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean(dim=(3, 5))
    else:
        square = tokens.unflatten(1, (2, 2, 2, 2))
        tokens = square.mean(dim=(2, 4)).flatten(1, 2)
    wanted, _ = same(Outputs(feature_map=grid), Outputs(tokens=tokens), None)
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-12)


def test_gradients():
    objective = made()
    grid = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    tokens = torch.randn(2, 4, 5, dtype=torch.float64)

    def loss(grid):
        return objective(Outputs(feature_map=grid), Outputs(tokens=tokens), None)[0]

    assert gradcheck(loss, grid)
    loss(grid).backward()
    assert all(p.grad.abs().sum() > 0 for p in objective.parameters())


def test_a_teacher_of_embeddings_alone_is_refused():
    with pytest.raises(
        FacedistillError, match=r"'fitnet' compares pixel features .* teacher\.bank"
    ):
        create_objective("fitnet", Setting(4, 4, 0))
