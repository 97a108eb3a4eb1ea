import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, unit


def made():
    return create_objective("mrd", RunContext(5, 3, 0))


def pair(count=6):
    return (
        3 * torch.randn(count, 5, dtype=torch.float64),
        2 * torch.randn(count, 3, dtype=torch.float64),
    )


def by_hand(of_student, of_teacher):
    of_student, of_teacher = (
        [unit(row) for row in rows.tolist()] for rows in (of_student, of_teacher)
    )
    costs = [
        (dot(of_student[i], of_student[j]) - dot(of_teacher[i], of_teacher[j])) ** 2
        for i in range(len(of_student))
        for j in range(len(of_student))
        if i != j
    ]
    return sum(costs) / len(costs)


def test_is_the_mean_over_pairs():
    of_student, of_teacher = pair()
    loss, parts = made()(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 6))
    assert loss.item() == pytest.approx(by_hand(of_student, of_teacher), abs=1e-12)
    assert parts == {}


def test_two_by_hand():
    of_student, of_teacher = torch.tensor([[2.0, 0], [0, 3]]), torch.tensor([[1.0, 0], [3, 4]])
    loss, _ = made()(outputs_of(of_student), outputs_of(of_teacher), batch_of([0, 0]))
    assert loss.item() == pytest.approx(0.36)


def test_one_image_has_no_pair():
    loss, _ = made()(*(outputs_of(x.requires_grad_()) for x in pair(1)), batch_of([0]))
    loss.backward()
    assert loss.item() == 0


def test_gradients():
    of_student, of_teacher = pair()
    objective, batch = made(), batch_of([0] * 6)
    of_student.requires_grad_()
    assert gradcheck(
        lambda x: objective(outputs_of(x), outputs_of(of_teacher), batch)[0], of_student
    )


def test_autocast_does_not_round_it():
    of_student, of_teacher = (x.float() for x in pair())
    exact, _ = made()(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 6))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = made()(outputs_of(of_student), outputs_of(of_teacher), batch_of([0] * 6))
    assert loss.item() == pytest.approx(exact.item(), abs=1e-6)


def test_needs_a_teacher():
    with pytest.raises(FacedistillError, match="'mrd' needs a teacher"):
        create_objective("mrd", RunContext(5, None, 0))
