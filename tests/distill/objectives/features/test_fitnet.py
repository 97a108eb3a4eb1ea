import math

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.cross_architecture.pixel_features import (
    PixelFeatures,
    resampled,
)
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import batch_of, times
from tests.distill.objectives.contexts import context, outputs_asked


def made(student=2, teacher=2, **options):
    pixels = PixelFeatures("feature_map", 3, student), PixelFeatures("tokens", 5, teacher)
    return create_objective("fitnet", context(4, 4, pixel_features=pixels), **options).double()


def by_hand(objective, grid, tokens, normalise):
    """Two images of 2 x 2 pixels, one number at a time; prompts are left out."""
    weight, bias = objective.project.weight[:, :, 0, 0].tolist(), objective.project.bias.tolist()
    total = 0.0
    for image in range(2):
        for place in range(4):
            student = times(weight, grid[image, :, place // 2, place % 2].tolist())
            teacher = tokens[image, place].tolist()
            if normalise:
                mean = sum(teacher) / 5
                variance = sum((t - mean) ** 2 for t in teacher) / 5
                teacher = [(t - mean) / math.sqrt(variance + 1e-5) for t in teacher]
            for s, offset, t in zip(student, bias, teacher, strict=True):
                total += (s + offset - t) ** 2
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


STAGED = context(
    4, 4,
    pixel_features=(
        PixelFeatures("feature_map", 3, 2, (2, 3, 6)),
        PixelFeatures("feature_map", 5, 2, (4, 5)),
    ),
)  # fmt: skip


def test_an_earlier_stage_is_a_hint_too():
    objective, last = create_objective("fitnet", STAGED, stage=2).double(), made()
    assert outputs_asked(objective) == {"student.stage_maps", "teacher.stage_maps"}
    assert objective.project.weight.shape == (4, 3, 1, 1)
    shapes = ((2, 8), (3, 4), (6, 2)), ((4, 2), (5, 1))
    student, teacher = ([torch.randn(2, c, s, s).double() for c, s in each] for each in shapes)
    loss, _ = objective(Outputs(stage_maps=student), Outputs(stage_maps=teacher), None)
    # The same maps as the last ones of a Transformer and a CNN, behind the same linear map.
    last.project = objective.project
    tokens = teacher[0].flatten(2).mT
    wanted, _ = last(Outputs(feature_map=resampled(student[1], 2)), Outputs(tokens=tokens), None)
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-12)
    for stage in (0, 3):
        with pytest.raises(FacedistillError, match=f"stage is {stage}, .* from 1 to 2"):
            create_objective("fitnet", STAGED, stage=stage)


def test_the_teachers_scale_counts_only_where_it_is_not_normalised():
    grid, tokens = torch.randn(2, 3, 2, 2).double(), torch.randn(2, 4, 5).double()

    def loss(times, normalise):
        objective = made(normalise=normalise)
        objective.load_state_dict(state)
        teacher = Outputs(tokens=times * tokens + 3)
        return objective(Outputs(feature_map=grid), teacher, None)[0].item()

    state = made().state_dict()
    assert loss(50, True) == pytest.approx(loss(1, True), rel=1e-3)
    assert loss(50, False) > 100 * loss(1, False)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_is_computed_in_float32_at_least(normalise, autocast):
    # Half precision holds the features exactly; the learned map may round under autocast.
    grid, tokens = torch.randn(2, 3, 2, 2).bfloat16(), 40 * torch.randn(2, 4, 5).bfloat16()
    exact = made(normalise=normalise)
    wanted, _ = exact(Outputs(feature_map=grid.double()), Outputs(tokens=tokens.double()), None)
    assert wanted.dtype == torch.float64
    for dtype in (torch.float32, torch.bfloat16) if autocast else (torch.float32,):
        objective = made(normalise=normalise).float()
        objective.load_state_dict(exact.state_dict())
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss, _ = objective(
                Outputs(feature_map=grid.to(dtype)), Outputs(tokens=tokens.to(dtype)), None
            )
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(wanted.item(), rel=0.03 if autocast else 1e-5)


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
        create_objective("fitnet", context(4, 4))
