import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import batch_of, outputs_of, times
from tests.distill.objectives.contexts import context

BATCH = batch_of([0] * 5)


def made(student=6, teacher=6):
    return create_objective("hidden_layer", context(4, 4, channels=(student, teacher))).double()


def maps(channels, side=3, count=5):
    return torch.randn(count, channels, side, side, dtype=torch.float64)


def shown(feature_map):
    return Outputs(feature_map=feature_map)


def pooled(feature_map):
    return [[sum(sum(row) for row in c) / (len(c) * len(c[0])) for c in m] for m in feature_map]


def by_hand(of_student, of_teacher):
    total = 0.0
    for a, b in zip(of_student, of_teacher, strict=True):
        total += sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / 2
    return total / len(of_student)


def test_is_half_the_squared_distance_of_the_pooled_maps():
    of_student, of_teacher = maps(6), maps(6, side=2)  # of networks with other strides
    loss, parts = made()(shown(of_student), shown(of_teacher), BATCH)
    k_s, k_t = pooled(of_student.tolist()), pooled(of_teacher.tolist())
    assert loss.shape == ()
    assert loss.item() == pytest.approx(by_hand(k_s, k_t), abs=1e-10)
    mean = [sum(column) / 5 for column in zip(*k_t, strict=True)]
    assert parts["unexplained"].item() == pytest.approx(loss.item() / by_hand(k_t, [mean] * 5))


def test_an_adapter_bridges_widths_and_learns():
    objective = made(student=4)
    of_student, of_teacher = maps(4), maps(6)
    loss, _ = objective(shown(of_student), shown(of_teacher), BATCH)
    matrix = objective.adapt.weight.tolist()
    adapted = [times(matrix, row) for row in pooled(of_student.tolist())]
    assert loss.item() == pytest.approx(by_hand(adapted, pooled(of_teacher.tolist())), abs=1e-10)
    loss.backward()
    assert objective.adapt.weight.grad.abs().sum() > 0
    assert not list(made().parameters())


def test_gradients():
    of_student, of_teacher = maps(4).requires_grad_(), maps(6)
    objective = made(student=4)
    assert gradcheck(lambda x: objective(shown(x), shown(of_teacher), BATCH)[0], of_student)


def test_half_precision_maps_are_compared_in_float32():
    of_student, of_teacher = maps(6), maps(6)
    loss, _ = made()(shown(of_student.bfloat16()), shown(of_teacher.bfloat16()), BATCH)
    exact, _ = made()(shown(of_student), shown(of_teacher), BATCH)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)


def test_a_teacher_without_hidden_layer_is_refused():
    with pytest.raises(FacedistillError, match=r"has no hidden layer to look at .*a run's folder"):
        create_objective("hidden_layer", context(4, 4))
    with pytest.raises(FacedistillError, match="'hidden_layer' needs a teacher"):
        create_objective("hidden_layer", context(4, None))
    with pytest.raises(FacedistillError, match="no feature map"):
        made()(outputs_of(), shown(maps(6)), BATCH)
