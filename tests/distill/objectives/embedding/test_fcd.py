import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.embedding.fcd import cosine_distance
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, times, unit


def pair(student_size=5, teacher_size=5, count=7):
    return (
        3 * torch.randn(count, student_size, dtype=torch.float64),
        2 * torch.randn(count, teacher_size, dtype=torch.float64),
    )


def made(student_size=5, teacher_size=5, **options):
    setting = RunContext(student_size, teacher_size, 0)
    return create_objective("fcd", setting, **options)


def by_hand(of_student, of_teacher):
    distances = [
        1 - dot(unit(a), unit(b))
        for a, b in zip(of_student.tolist(), of_teacher.tolist(), strict=True)
    ]
    return sum(distances) / len(distances)


def test_is_the_mean_of_one_minus_cosine():
    of_student, of_teacher = pair()
    loss, parts = made()(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 7))
    assert loss.shape == ()
    assert loss.item() == pytest.approx(by_hand(of_student, of_teacher), abs=1e-10)
    assert parts["cosine"].item() == pytest.approx(1 - by_hand(of_student, of_teacher), abs=1e-10)
    assert not parts["cosine"].requires_grad


def test_is_half_the_squared_distance_of_unit_vectors():
    of_student, of_teacher = pair()
    loss, _ = made()(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 7))
    total = 0.0
    for a, b in zip(of_student.tolist(), of_teacher.tolist(), strict=True):
        total += sum((x - y) ** 2 for x, y in zip(unit(a), unit(b), strict=True))
    assert loss.item() == pytest.approx(total / 7 / 2, abs=1e-10)


def test_a_projection_bridges_dimensions():
    objective = made(student_size=3).double()
    of_student, of_teacher = pair(student_size=3)
    loss, _ = objective(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 7))
    matrix = objective.project.weight.tolist()
    projected = torch.tensor(
        [times(matrix, row) for row in of_student.tolist()], dtype=torch.float64
    )
    assert loss.item() == pytest.approx(by_hand(projected, of_teacher), abs=1e-10)
    loss.backward()
    assert objective.project.weight.grad.abs().sum() > 0


def test_gradients():
    of_student, of_teacher = pair()
    objective, batch = made(), batch_of([0] * 7)
    of_student.requires_grad_()
    assert gradcheck(
        lambda x: objective(outputs_of(x), outputs_of(of_teacher), batch)[0], of_student
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(dtype):
    of_student, of_teacher = (x.to(dtype) for x in pair())
    loss, _ = made()(outputs_of(of_student), outputs_of(of_teacher.float()), batch_of([0] * 7))
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(by_hand(of_student.double(), of_teacher.double()), abs=1e-5)


@pytest.mark.parametrize("student_size", [5, 3])
def test_under_autocast_the_loss_is_float32(student_size):
    of_student, of_teacher = (x.float() for x in pair(student_size))
    objective = made(student_size)
    exact, _ = objective(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 7))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 7))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=1e-6 if student_size == 5 else 1e-2)


def test_range():
    a = torch.randn(4, 5, dtype=torch.float64)
    assert torch.allclose(cosine_distance(a, 7 * a), torch.zeros(4).double(), atol=1e-12)
    assert torch.allclose(cosine_distance(a, -a), 2 * torch.ones(4).double(), atol=1e-12)


def test_a_network_without_embedding_is_named():
    with pytest.raises(FacedistillError, match="no embedding"):
        made()(Outputs(), outputs_of(torch.ones(1, 5)), batch_of([0]))
