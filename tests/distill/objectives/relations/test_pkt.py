import math

import pytest

from tests.distill.objectives.by_hand import dot, unit
from tests.distill.objectives.methods import batch, both_outputs, made


def probabilities(embedding):
    rows = [unit(row) for row in embedding.tolist()]
    kernel = [[(dot(a, b) + 1) / 2 for b in rows] for a in rows]
    return [[k / sum(row) for k in row] for row in kernel]


def test_is_the_divergence_of_neighbours():
    of_student, of_teacher = both_outputs()
    expected = 0.0
    for p, q in zip(
        probabilities(of_teacher.embedding), probabilities(of_student.embedding), strict=True
    ):
        expected += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / len(p)
    loss, parts = made("pkt")(of_student, of_teacher, batch())
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert parts == {}
