import math

import pytest
import torch

from tests.distill.objectives.by_hand import batch_of, dot, outputs_of
from tests.distill.objectives.methods import LABELS, batch, both_outputs, made, setting
from tests.distill.objectives.registered import IDENTITIES


def linear(layer, outputs):
    rows = outputs.embedding.tolist()
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    mapped = [[dot(w, row) + b for w, b in zip(weight, bias, strict=True)] for row in rows]
    return [[x / math.sqrt(dot(row, row)) for x in row] for row in mapped]


def by_hand(objective, of_student, of_teacher, tau):
    """Both sides, one pair at a time, with the constant of this very batch."""
    v_s, v_t = linear(objective.student_map, of_student), linear(objective.teacher_map, of_teacher)
    memories = objective.teachers.rows.tolist(), objective.students.rows.tolist()
    total = 0.0
    for anchors, memory in zip((v_s, v_t), memories, strict=True):
        raised = [[math.exp(dot(v, n) / tau) for n in memory] for v in anchors]
        z = sum(map(sum, raised)) / (len(raised) * len(memory))
        for i, row in enumerate(raised):
            odds = math.exp(dot(v_s[i], v_t[i]) / tau) / (IDENTITIES * z)
            total += math.log(1 + 1 / odds)
            total += sum(math.log(1 + h / (IDENTITIES * z)) for k, h in enumerate(row)
                         if k != LABELS[i])  # fmt: skip
    return total / len(v_s)


@pytest.mark.parametrize("tau", [0.07, 0.5])
def test_is_noise_contrastive_estimation(tau):
    objective = made("crd", dimension=6, tau=tau).double()
    of_student, of_teacher = both_outputs()
    loss, parts = objective(of_student, of_teacher, batch())
    assert loss.item() == pytest.approx(by_hand(objective, of_student, of_teacher, tau), rel=1e-6)
    assert 0 <= parts["separated"] <= 1


def test_the_constant_is_of_the_first_batch():
    objective = made("crd").double()
    objective(*both_outputs(), batch())
    kept = objective.log_mean.clone()
    objective(*both_outputs(), batch())
    assert torch.equal(objective.log_mean, kept)


def test_memories_are_running_means_of_identities():
    objective = made("crd", dimension=6, momentum=0.75)
    before = objective.students.rows.clone()
    first, second = both_outputs(count=3), both_outputs(count=2)
    for (of_student, of_teacher), labels in ((first, [2, 0, 2]), (second, [0, 3])):
        outputs = (outputs_of(x.embedding.float()) for x in (of_student, of_teacher))
        objective.observe(*outputs, batch_of(labels))
    objective.finish_step(lambda rows: rows)
    last = {2: (first, 2), 0: (second, 0), 3: (second, 1)}
    for identity, ((of_student, _), place) in last.items():
        with torch.no_grad():
            new = objective.student_map(of_student.embedding[place].float())
        mean = 0.75 * before[identity] + 0.25 * new / new.norm()
        torch.testing.assert_close(objective.students.rows[identity], mean / mean.norm())
    assert torch.equal(objective.students.rows[1], before[1])


def test_negatives_are_drawn_among_all_identities_once():
    objective = made("crd", setting(identities=40), negatives=10)
    drawn = [objective._draw(40, torch.device("cpu")) for _ in range(30)]
    assert all(len(set(identities.tolist())) == 10 for identities in drawn)
    assert len({tuple(identities.tolist()) for identities in drawn}) > 1
    assert torch.equal(made("crd")._draw(IDENTITIES, torch.device("cpu")), torch.arange(IDENTITIES))


def test_a_checkpoint_keeps_the_memories():
    one, other = made("crd"), made("crd")
    of_student, of_teacher = (outputs_of(x.embedding.float()) for x in both_outputs())
    one.observe(of_student, of_teacher, batch())
    one.finish_step(lambda rows: rows)
    assert not torch.equal(one.teachers.rows, other.teachers.rows)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.teachers.rows, other.teachers.rows)
