import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, said, times, unit
from tests.distill.objectives.embedding.test_fcd import pair

BATCH = batch_of([0] * 7)


def made(student_size=5, teacher_size=5, **options):
    return create_objective("embedding_mse", RunContext(student_size, teacher_size, 0), **options)


def by_hand(ours, theirs, normalise, distance):
    total, terms = 0.0, 0
    for a, b in zip(ours.tolist(), theirs.tolist(), strict=True):
        if normalise:
            a, b = unit(a), unit(b)
        for x, y in zip(a, b, strict=True):
            gap = abs(x - y)
            if distance == "squared":
                total += gap * gap
            else:
                total += 0.5 * gap * gap if gap < 1 else gap - 0.5
            terms += 1
    return total / terms


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("distance", ["squared", "smooth_l1"])
@pytest.mark.parametrize("student_size", [5, 3])
def test_is_the_mean_over_batch_and_dimensions(normalise, distance, student_size):
    objective = made(student_size, normalise=normalise, distance=distance).double()
    ours, theirs = pair(student_size)
    loss, parts = objective(said(ours), said(theirs), BATCH)
    if student_size != 5:
        matrix = objective.project.weight.tolist()
        ours = torch.tensor([times(matrix, row) for row in ours.tolist()], dtype=torch.float64)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(by_hand(ours, theirs, normalise, distance), abs=1e-10)
    assert parts == {}


def test_on_unit_vectors_it_is_two_over_d_of_fcd():
    ours, theirs = pair()
    squared, _ = made(normalise=True)(said(ours), said(theirs), BATCH)
    fcd, _ = create_objective("fcd", RunContext(5, 5, 0))(said(ours), said(theirs), BATCH)
    assert squared.item() == pytest.approx(2 * fcd.item() / 5, abs=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("distance", ["squared", "smooth_l1"])
def test_gradients(normalise, distance):
    ours, theirs = pair()
    objective = made(normalise=normalise, distance=distance)
    ours.requires_grad_()
    assert gradcheck(lambda x: objective(said(x), said(theirs), BATCH)[0], ours)


@pytest.mark.parametrize("distance", ["squared", "smooth_l1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(dtype, distance):
    ours, theirs = (x.to(dtype) for x in pair())
    loss, _ = made(distance=distance)(said(ours), said(theirs.float()), BATCH)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected = by_hand(ours.double(), theirs.double(), False, distance)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("student_size", [5, 3])
def test_under_autocast_the_loss_is_float32(student_size):
    ours, theirs = (x.float() for x in pair(student_size))
    objective = made(student_size)
    exact, _ = objective(said(ours), said(theirs), BATCH)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(said(ours), said(theirs), BATCH)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6 if student_size == 5 else 2e-2)


def test_an_unknown_distance_is_named():
    with pytest.raises(
        FacedistillError, match="distance is 'l2', it must be one of squared, smooth_l1"
    ):
        made(distance="l2")
