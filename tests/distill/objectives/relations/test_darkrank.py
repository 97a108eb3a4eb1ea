import math
from math import dist

import pytest

from tests.distill.objectives.by_hand import unit
from tests.distill.objectives.methods import batch, both_outputs, made


def by_hand(of_student, of_teacher, alpha, beta, items):
    of_student, of_teacher = (
        [unit(row) for row in x.embedding.tolist()] for x in (of_student, of_teacher)
    )
    total = 0.0
    for i in range(len(of_student)):
        others = [j for j in range(len(of_student)) if j != i]
        listed = sorted(others, key=lambda j: dist(of_teacher[i], of_teacher[j]))[:items]
        scores = [-alpha * dist(of_student[i], of_student[j]) ** beta for j in listed]
        for place, score in enumerate(scores):
            total -= score - math.log(sum(math.exp(s) for s in scores[place:]))
    return total / len(of_student)


@pytest.mark.parametrize(("alpha", "beta", "items"), [(3, 3, 4), (1.0, 1.0, 2), (2.0, 1.5, 99)])
def test_is_the_likelihood_of_the_teachers_order(alpha, beta, items):
    of_student, of_teacher = both_outputs()
    loss, parts = made("darkrank", alpha=alpha, beta=beta, items=items)(
        of_student, of_teacher, batch()
    )
    expected = by_hand(of_student, of_teacher, alpha, beta, min(items, 7))
    assert loss.item() == pytest.approx(expected, abs=1e-10)
    assert parts == {}


def test_a_student_without_a_preference_is_right_once_in_all_orders():
    of_student, of_teacher = both_outputs()
    of_student.embedding[:] = of_student.embedding[0]
    loss, _ = made("darkrank")(of_student, of_teacher, batch())
    assert loss.item() == pytest.approx(math.log(math.factorial(4)))
