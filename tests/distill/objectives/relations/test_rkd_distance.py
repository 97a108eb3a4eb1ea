from itertools import permutations
from math import dist

import pytest
from torch.autograd import gradcheck

from tests.distill.objectives.by_hand import batch_of, outputs_of
from tests.distill.objectives.methods import batch, both_outputs, made
from tests.distill.objectives.relations.rkd_by_hand import mean_difference


def relative(points):
    pairs = {(i, j): dist(points[i], points[j]) for i, j in permutations(range(len(points)), 2)}
    mean = sum(pairs.values()) / len(pairs)
    return {pair: distance / mean for pair, distance in pairs.items()}


@pytest.mark.parametrize("normalise", [True, False])
def test_is_the_mean_over_pairs(normalise):
    of_student, of_teacher = both_outputs()
    loss, parts = made("rkd_distance", normalise=normalise)(of_student, of_teacher, batch())
    expected = mean_difference(relative, of_student, of_teacher, normalise)
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert parts == {}


def test_an_image_that_is_there_twice_has_a_gradient():
    of_student, of_teacher = both_outputs()
    twice = [0, 1, 2, 2, 3]

    def loss(embedding):
        return made("rkd_distance")(
            outputs_of(embedding[twice]), outputs_of(of_teacher.embedding[twice]), batch_of(twice)
        )[0]

    assert gradcheck(loss, of_student.embedding[:4].requires_grad_())
