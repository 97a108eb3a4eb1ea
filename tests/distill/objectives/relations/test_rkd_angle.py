from itertools import permutations

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.distill.objectives.relations import rkd_angle
from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, unit
from tests.distill.objectives.methods import batch, both_outputs, made
from tests.distill.objectives.relations.rkd_by_hand import mean_difference


def angles(points):
    result = {}
    for i, j, k in permutations(range(len(points)), 3):
        one, other = (
            unit([x - y for x, y in zip(points[end], points[i], strict=True)]) for end in (j, k)
        )
        result[i, j, k] = dot(one, other)
    return result


@pytest.mark.parametrize("normalise", [True, False])
def test_is_the_mean_over_triplets(normalise):
    of_student, of_teacher = both_outputs()
    loss, parts = made("rkd_angle", normalise=normalise)(of_student, of_teacher, batch())
    expected = mean_difference(angles, of_student, of_teacher, normalise)
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert parts == {}


@pytest.mark.parametrize("numbers", [1, 600, 1 << 30])
def test_angles_do_not_depend_on_the_chunks(monkeypatch, numbers):
    of_student, of_teacher = both_outputs()
    embedding = of_student.embedding.requires_grad_()
    whole = made("rkd_angle")(outputs_of(embedding), of_teacher, batch())[0]
    (expected,) = torch.autograd.grad(whole, embedding)
    monkeypatch.setattr(rkd_angle, "_AT_ONCE", numbers)
    calls = []
    part = rkd_angle._angle_difference
    monkeypatch.setattr(
        rkd_angle, "_angle_difference", lambda *args: calls.append(args) or part(*args)
    )
    loss = made("rkd_angle")(outputs_of(embedding), of_teacher, batch())[0]
    assert len(calls) == {1: 8, 600: 2, 1 << 30: 1}[numbers]
    (gradient,) = torch.autograd.grad(loss, embedding)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(gradient, expected)


def test_an_image_that_is_there_twice_has_a_gradient():
    of_student, of_teacher = both_outputs()
    twice = [0, 1, 2, 2, 3]

    def loss(embedding):
        return made("rkd_angle")(
            outputs_of(embedding[twice]), outputs_of(of_teacher.embedding[twice]), batch_of(twice)
        )[0]

    assert gradcheck(loss, of_student.embedding[:4].requires_grad_())
