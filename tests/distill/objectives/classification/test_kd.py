import math

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.classification.kd import soft_target_loss
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, outputs_of, softmax

BATCH = batch_of([0, 1, 2, 0, 1, 2, 0])


def logits(count=7, classes=6):
    return tuple(10 * torch.randn(count, classes, dtype=torch.float64) for _ in range(2))


def made(**options):
    return create_objective("kd", RunContext(4, 4, 6), **options)


def by_hand(of_student, of_teacher, tau):
    total = 0.0
    for a, b in zip(of_student.tolist(), of_teacher.tolist(), strict=True):
        p, q = softmax([x / tau for x in b]), softmax([x / tau for x in a])
        total += sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True) if pi > 0)
    return tau**2 * total / len(of_student)


@pytest.mark.parametrize("tau", [1, 4.0, 20.0])
def test_is_tau_squared_times_the_mean_divergence(tau):
    of_student, of_teacher = logits()
    loss, parts = made(tau=tau)(outputs_of(logits=of_student), outputs_of(logits=of_teacher), BATCH)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(by_hand(of_student, of_teacher, tau), abs=1e-10)
    same = sum(
        a.index(max(a)) == b.index(max(b))
        for a, b in zip(of_student.tolist(), of_teacher.tolist(), strict=True)
    )
    assert parts["agreement"].item() == pytest.approx(same / 7)
    assert not parts["agreement"].requires_grad


def test_equal_distributions_cost_nothing():
    of_student, _ = logits()
    assert soft_target_loss(of_student, of_student + 5, 4.0).item() == pytest.approx(0, abs=1e-12)


def test_gradients():
    of_student, of_teacher = logits()
    of_student.requires_grad_()
    assert gradcheck(
        lambda x: made()(outputs_of(logits=x), outputs_of(logits=of_teacher), BATCH)[0], of_student
    )


def test_a_confident_teacher_gives_no_nan():
    of_student, of_teacher = torch.zeros(2, 3), torch.tensor([[1e4, 0, -1e4], [0, 0, 1e4]])
    of_student.requires_grad_()
    loss = soft_target_loss(of_student, of_teacher, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), abs=1e-5)
    assert torch.isfinite(of_student.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_dtypes(dtype, autocast):
    of_student, of_teacher = (x.to(dtype) for x in logits())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss, _ = made()(
            outputs_of(logits=of_student), outputs_of(logits=of_teacher.float()), BATCH
        )
    if not autocast:
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(
        by_hand(of_student.double(), of_teacher.double(), 4.0), rel=1e-4
    )


@pytest.mark.parametrize("tau", [0, -1.0, math.nan, math.inf])
def test_a_temperature_out_of_range_is_refused(tau):
    with pytest.raises(FacedistillError, match="tau is"):
        made(tau=tau)
