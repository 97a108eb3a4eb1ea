import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, outputs_of, times, unit
from tests.distill.objectives.embedding.test_fcd import pair

BATCH = batch_of([0] * 7)


def made(student_size=5, teacher_size=5, **options):
    return create_objective("embedding_mse", RunContext(student_size, teacher_size, 0), **options)


def by_hand(of_student, of_teacher, normalise, distance):
    total, terms = 0.0, 0
    for a, b in zip(of_student.tolist(), of_teacher.tolist(), strict=True):
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
    of_student, of_teacher = pair(student_size)
    loss, parts = objective(outputs_of(of_student), outputs_of(of_teacher), BATCH)
    if student_size != 5:
        matrix = objective.project.weight.tolist()
        of_student = torch.tensor(
            [times(matrix, row) for row in of_student.tolist()], dtype=torch.float64
        )
    assert loss.shape == ()
    assert loss.item() == pytest.approx(
        by_hand(of_student, of_teacher, normalise, distance), abs=1e-10
    )
    assert parts == {}


def test_on_unit_vectors_it_is_two_over_d_of_fcd():
    of_student, of_teacher = pair()
    squared, _ = made(normalise=True)(outputs_of(of_student), outputs_of(of_teacher), BATCH)
    fcd, _ = create_objective("fcd", RunContext(5, 5, 0))(
        outputs_of(of_student), outputs_of(of_teacher), BATCH
    )
    assert squared.item() == pytest.approx(2 * fcd.item() / 5, abs=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("distance", ["squared", "smooth_l1"])
def test_gradients(normalise, distance):
    of_student, of_teacher = pair()
    objective = made(normalise=normalise, distance=distance)
    of_student.requires_grad_()
    assert gradcheck(
        lambda x: objective(outputs_of(x), outputs_of(of_teacher), BATCH)[0], of_student
    )


@pytest.mark.parametrize("distance", ["squared", "smooth_l1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(dtype, distance):
    of_student, of_teacher = (x.to(dtype) for x in pair())
    loss, _ = made(distance=distance)(outputs_of(of_student), outputs_of(of_teacher.float()), BATCH)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected = by_hand(of_student.double(), of_teacher.double(), False, distance)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("student_size", [5, 3])
def test_under_autocast_the_loss_is_float32(student_size):
    of_student, of_teacher = (x.float() for x in pair(student_size))
    objective = made(student_size)
    exact, _ = objective(outputs_of(of_student), outputs_of(of_teacher), BATCH)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(outputs_of(of_student), outputs_of(of_teacher), BATCH)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6 if student_size == 5 else 2e-2)


def test_an_unknown_distance_is_named():
    with pytest.raises(
        FacedistillError, match="distance is 'l2', it must be one of squared, smooth_l1"
    ):
        made(distance="l2")
