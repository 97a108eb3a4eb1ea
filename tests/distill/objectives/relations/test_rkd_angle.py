from itertools import permutations
from math import dist

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.distill.objectives.relations import rkd_angle
from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, unit
from tests.distill.objectives.methods import batch, both_outputs, made


def smooth_l1(a, b):
    gap = abs(a - b)
    return gap**2 / 2 if gap < 1 else gap - 0.5


def rows(outputs, normalise):
    return [unit(row) if normalise else row for row in outputs.embedding.tolist()]


def relative(points):
    pairs = {(i, j): dist(points[i], points[j]) for i, j in permutations(range(len(points)), 2)}
    mean = sum(pairs.values()) / len(pairs)
    return {pair: distance / mean for pair, distance in pairs.items()}


def angles(points):
    result = {}
    for i, j, k in permutations(range(len(points)), 3):
        one, other = (
            unit([x - y for x, y in zip(points[end], points[i], strict=True)]) for end in (j, k)
        )
        result[i, j, k] = dot(one, other)
    return result


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("name", "relation"), [("rkd_distance", relative), ("rkd_angle", angles)])
def test_is_the_mean_over_pairs_or_triplets(name, relation, normalise):
    of_student, of_teacher = both_outputs()
    mine, yours = (relation(rows(x, normalise)) for x in (of_student, of_teacher))
    loss, parts = made(name, normalise=normalise)(of_student, of_teacher, batch())
    expected = sum(smooth_l1(mine[key], yours[key]) for key in mine) / len(mine)
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


@pytest.mark.parametrize("name", ["rkd_distance", "rkd_angle"])
def test_an_image_that_is_there_twice_has_a_gradient(name):
    of_student, of_teacher = both_outputs()
    twice = [0, 1, 2, 2, 3]

    def loss(embedding):
        return made(name)(
            outputs_of(embedding[twice]), outputs_of(of_teacher.embedding[twice]), batch_of(twice)
        )[0]

    assert gradcheck(loss, of_student.embedding[:4].requires_grad_())
