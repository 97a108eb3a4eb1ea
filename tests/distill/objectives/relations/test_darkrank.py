import math
from math import dist

import pytest

from tests.distill.objectives.by_hand import unit
from tests.distill.objectives.methods import batch, made, spoken


def by_hand(ours, theirs, alpha, beta, items):
    ours, theirs = ([unit(row) for row in x.embedding.tolist()] for x in (ours, theirs))
    total = 0.0
    for i in range(len(ours)):
        others = [j for j in range(len(ours)) if j != i]
        listed = sorted(others, key=lambda j: dist(theirs[i], theirs[j]))[:items]
        scores = [-alpha * dist(ours[i], ours[j]) ** beta for j in listed]
        for place, score in enumerate(scores):
            total -= score - math.log(sum(math.exp(s) for s in scores[place:]))
    return total / len(ours)


@pytest.mark.parametrize(("alpha", "beta", "items"), [(3, 3, 4), (1.0, 1.0, 2), (2.0, 1.5, 99)])
def test_is_the_likelihood_of_the_teachers_order(alpha, beta, items):
    ours, theirs = spoken()
    loss, parts = made("darkrank", alpha=alpha, beta=beta, items=items)(ours, theirs, batch())
    expected = by_hand(ours, theirs, alpha, beta, min(items, 7))
    assert loss.item() == pytest.approx(expected, abs=1e-10)
    assert parts == {}


def test_a_student_without_a_preference_is_right_once_in_all_orders():
    ours, theirs = spoken()
    ours.embedding[:] = ours.embedding[0]
    loss, _ = made("darkrank")(ours, theirs, batch())
    assert loss.item() == pytest.approx(math.log(math.factorial(4)))
