import math

import pytest
import torch

from facedistill.distill.objectives.relations.cckd import gaussian_kernel
from tests.distill.objectives.by_hand import dot, unit
from tests.distill.objectives.methods import batch, both_outputs, made


def kernel(embedding, gamma, order):
    rows = [unit(row) for row in embedding.tolist()]
    return [
        math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * dot(a, b) ** p
        for a in rows for b in rows for p in range(order + 1)
    ]  # fmt: skip


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (1.5, 4)])
def test_is_the_mean_squared_difference_of_kernels(gamma, order):
    of_student, of_teacher = both_outputs()
    terms = order + 1
    student, teacher = (kernel(x.embedding, gamma, order) for x in (of_student, of_teacher))
    costs = [
        (sum(student[at : at + terms]) - sum(teacher[at : at + terms])) ** 2
        for at in range(0, len(student), terms)
    ]
    loss, parts = made("cckd", gamma=gamma, order=order)(of_student, of_teacher, batch())
    assert len(costs) == 64
    assert loss.item() == pytest.approx(sum(costs) / 64, abs=1e-12)
    assert parts == {}


def test_many_terms_are_the_gaussian_kernel():
    of_student, _ = both_outputs()
    unit_rows = torch.nn.functional.normalize(of_student.embedding)
    exact = torch.exp(-0.4 * torch.cdist(unit_rows, unit_rows).square())
    torch.testing.assert_close(
        gaussian_kernel(of_student.embedding, 0.4, 10), exact, atol=1e-7, rtol=0
    )
