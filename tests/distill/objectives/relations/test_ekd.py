import math
from itertools import combinations

import pytest
import torch

from facedistill.distill.objectives.relations.ekd import thresholds_at
from tests.distill.objectives.by_hand import batch_of, dot, unit
from tests.distill.objectives.methods import LABELS, batch, both_outputs, made


def pairs(outputs):
    rows = [unit(row) for row in outputs.embedding.tolist()]
    cosines = {(i, j): dot(rows[i], rows[j]) for i, j in combinations(range(len(rows)), 2)}
    same = {pair: c for pair, c in cosines.items() if LABELS[pair[0]] == LABELS[pair[1]]}
    return same, {pair: c for pair, c in cosines.items() if pair not in same}


def thresholds(negatives):
    ordered = sorted(negatives.values(), reverse=True)
    return [ordered[len(ordered) // 10**k] for k in range(1, 7)]


def count(cosine, limits, tau):
    return sum(1 / (1 + math.exp(-(cosine - limit) / tau)) for limit in limits)


def difference(of_student, of_teacher, limits, tau):
    costs = [
        (count(of_student[p], limits[0], tau) - count(of_teacher[p], limits[1], tau)) ** 2
        for p in of_student
    ]
    return sum(costs) / len(costs)


@pytest.mark.parametrize("hardest", [5, 2000])
def test_is_the_squared_difference_of_soft_counts(hardest):
    objective = made("ekd", positive=2.0, negative=3.0, tau=0.1, momentum=0.25, hardest=hardest)
    objective = objective.double()
    limits = None
    for _ in range(3):
        of_student, of_teacher = both_outputs()
        student_same, student_other = pairs(of_student)
        teacher_same, teacher_other = pairs(of_teacher)
        new = [thresholds(student_other), thresholds(teacher_other)]
        limits = limits and [
            [0.75 * old + 0.25 * fresh for old, fresh in zip(*both, strict=True)]
            for both in zip(limits, new, strict=True)
        ]
        limits = limits or new
        hard = sorted(student_other, key=lambda pair: -student_other[pair])[:hardest]
        positive = difference(student_same, teacher_same, limits, 0.1)
        negative = difference({p: student_other[p] for p in hard}, teacher_other, limits, 0.1)
        loss, parts = objective(of_student, of_teacher, batch())
        assert parts["positive"].item() == pytest.approx(positive, abs=1e-9)
        assert parts["negative"].item() == pytest.approx(negative, abs=1e-9)
        assert loss.item() == pytest.approx(2 * positive + 3 * negative, abs=1e-9)


def test_thresholds_are_at_their_rates():
    cosines = torch.linspace(-1, 1, 2000)[torch.randperm(2000)]
    found = thresholds_at(cosines)
    passed = [(cosines > threshold).float().mean().item() for threshold in found]
    assert passed == pytest.approx([0.1, 0.01, 0.001, 0, 0, 0])


def test_only_training_moves_thresholds():
    objective = made("ekd").double()
    objective(*both_outputs(), batch())
    kept = objective.student_thresholds.clone()
    objective.eval()(*both_outputs(), batch())
    assert torch.equal(objective.student_thresholds, kept)
    again = made("ekd").double()
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.student_thresholds, kept)
    assert again.started


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 0]])
def test_a_batch_without_pairs_of_a_kind(labels):
    of_student, of_teacher = both_outputs(count=4)
    loss, parts = made("ekd").double()(of_student, of_teacher, batch_of(labels))
    absent = "positive" if len(set(labels)) > 1 else "negative"
    assert parts[absent] == 0
    assert torch.isfinite(loss)
