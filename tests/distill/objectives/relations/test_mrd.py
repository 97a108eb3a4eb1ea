import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, dot, said, unit


def made():
    return create_objective("mrd", RunContext(5, 3, 0))


def pair(count=6):
    return (
        3 * torch.randn(count, 5, dtype=torch.float64),
        2 * torch.randn(count, 3, dtype=torch.float64),
    )


def by_hand(ours, theirs):
    ours, theirs = ([unit(row) for row in rows.tolist()] for rows in (ours, theirs))
    costs = [
        (dot(ours[i], ours[j]) - dot(theirs[i], theirs[j])) ** 2
        for i in range(len(ours))
        for j in range(len(ours))
        if i != j
    ]
    return sum(costs) / len(costs)


def test_is_the_mean_over_pairs():
    ours, theirs = pair()
    loss, parts = made()(said(ours), said(theirs), batch_of([0] * 6))
    assert loss.item() == pytest.approx(by_hand(ours, theirs), abs=1e-12)
    assert parts == {}


def test_two_by_hand():
    ours, theirs = torch.tensor([[2.0, 0], [0, 3]]), torch.tensor([[1.0, 0], [3, 4]])
    loss, _ = made()(said(ours), said(theirs), batch_of([0, 0]))
    assert loss.item() == pytest.approx(0.36)


def test_one_image_has_no_pair():
    loss, _ = made()(*(said(x.requires_grad_()) for x in pair(1)), batch_of([0]))
    loss.backward()
    assert loss.item() == 0


def test_gradients():
    ours, theirs = pair()
    objective, batch = made(), batch_of([0] * 6)
    ours.requires_grad_()
    assert gradcheck(lambda x: objective(said(x), said(theirs), batch)[0], ours)


def test_autocast_does_not_round_it():
    ours, theirs = (x.float() for x in pair())
    exact, _ = made()(said(ours), said(theirs), batch_of([0] * 6))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = made()(said(ours), said(theirs), batch_of([0] * 6))
    assert loss.item() == pytest.approx(exact.item(), abs=1e-6)


def test_needs_a_teacher():
    with pytest.raises(FacedistillError, match="'mrd' needs a teacher"):
        create_objective("mrd", RunContext(5, None, 0))
