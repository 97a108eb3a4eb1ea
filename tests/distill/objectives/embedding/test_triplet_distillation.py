from itertools import permutations

import pytest

from tests.distill.objectives.by_hand import batch_of, dot, unit
from tests.distill.objectives.methods import LABELS, batch, both_outputs, made


def squared(rows, i, j):
    return 2 - 2 * dot(unit(rows[i]), unit(rows[j]))


@pytest.mark.parametrize(("smallest", "largest"), [(0.2, 0.5), (0.0, 2.0), (0.3, 0.3)])
def test_margins_follow_the_teachers_gap(smallest, largest):
    of_student, of_teacher = both_outputs()
    student, teacher = of_student.embedding.tolist(), of_teacher.embedding.tolist()
    triplets = [
        (a, p, n) for a, p, n in permutations(range(8), 3) if LABELS[a] == LABELS[p] != LABELS[n]
    ]
    gaps = [max(0, squared(teacher, a, n) - squared(teacher, a, p)) for a, p, n in triplets]
    costs = [
        squared(student, a, p) - squared(student, a, n) + smallest
        + (largest - smallest) * gap / max(gaps)
        for (a, p, n), gap in zip(triplets, gaps, strict=True)
    ]  # fmt: skip
    active = [cost for cost in costs if cost > 0]
    objective = made("triplet_distillation", smallest=smallest, largest=largest)
    loss, parts = objective(of_student, of_teacher, batch())
    assert loss.item() == pytest.approx(sum(active) / len(active), abs=1e-12)
    assert parts["triplets"].item() == len(triplets)
    assert parts["active"].item() == pytest.approx(len(active) / len(triplets))


def test_identities_with_one_image_make_no_triplet():
    of_student, of_teacher = both_outputs(count=3)
    loss, parts = made("triplet_distillation")(of_student, of_teacher, batch_of([0, 1, 2]))
    assert loss.item() == 0
    assert parts["triplets"].item() == 0
