import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, unit

STUDENT, TEACHER = 5, 4


def made(**options):
    options = {"neighbours": 3, "queue": 8, "storage": "fp32"} | options
    return create_objective("rad_queue", RunContext(STUDENT, TEACHER, 0), **options)


def embeddings(count=6):
    return (
        3 * torch.randn(count, STUDENT, dtype=torch.float64),
        2 * torch.randn(count, TEACHER, dtype=torch.float64),
    )


def unlabelled(count):
    return batch_of([-1] * count)


def step(objective, *counts):
    """One optimiser step in micro-batches of so many images."""
    for count in counts:
        of_student, of_teacher = (x.float() for x in embeddings(count))
        objective.observe(outputs_of(of_student), outputs_of(of_teacher), unlabelled(count))
    objective.finish_step(lambda rows: rows)


def by_hand(objective, of_student, of_teacher, count, q, two_sided, squared):
    queue = objective.queue
    costs = []
    for f_s, f_t in zip(of_student.tolist(), of_teacher.tolist(), strict=True):
        rows = [
            (dot(unit(f_t), t), s)
            for s, t in zip(queue.students.tolist(), queue.teachers.tolist(), strict=True)
        ][: queue.filled]
        rows.sort(key=lambda row: -row[0])
        for similar, s in rows[:count]:
            delta = dot(unit(f_s), s) - similar
            cost = max((abs(delta) if two_sided else delta) - q, 0)
            costs.append(cost**2 if squared else cost)
    return costs


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("two_sided", "q"), [(False, 0.03), (False, -0.1), (True, 0.2)])
@pytest.mark.parametrize("counts", [(2,), (3, 2), (6, 6)])
def test_is_the_mean_over_the_hardest_of_the_queue(squared, two_sided, q, counts):
    objective = made(q=q, two_sided=two_sided, squared=squared)
    step(objective, *counts)
    of_student, of_teacher = embeddings()
    loss, parts = objective(outputs_of(of_student), outputs_of(of_teacher), unlabelled(6))
    costs = by_hand(objective, of_student, of_teacher, 3, q, two_sided, squared)
    assert len(costs) == 6 * min(3, sum(counts))
    assert loss.item() == pytest.approx(sum(costs) / len(costs), abs=1e-10)
    assert parts["valid"].item() == pytest.approx(min(3, sum(counts)) / 3)
    assert parts["paid"].item() == pytest.approx(sum(c > 0 for c in costs) / len(costs))


def test_an_empty_queue_costs_nothing():
    of_student, of_teacher = embeddings()
    of_student.requires_grad_()
    loss, parts = made()(outputs_of(of_student), outputs_of(of_teacher), unlabelled(6))
    loss.backward()
    assert loss.item() == parts["valid"] == parts["paid"] == 0
    assert not of_student.grad.any()


def test_gradients():
    objective = made()
    step(objective, 8)
    of_student, of_teacher = embeddings()
    batch = unlabelled(6)
    assert gradcheck(
        lambda x: objective(outputs_of(x), outputs_of(of_teacher), batch)[0],
        of_student.requires_grad_(),
    )


def test_autocast_does_not_round_it():
    objective = made(storage="fp16", neighbours=8)
    step(objective, 8)
    of_student, of_teacher = (x.float() for x in embeddings())
    exact, _ = objective(outputs_of(of_student), outputs_of(of_teacher), unlabelled(6))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(outputs_of(of_student), outputs_of(of_teacher), unlabelled(6))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=1e-6)


def test_a_checkpoint_keeps_the_queue():
    first, second = made(), made()
    step(first, 5)
    step(first, 6)
    second.load_state_dict(first.state_dict())
    step(first, 1)
    assert second.queue.place == 3
    of_student, of_teacher = embeddings()
    state = first.state_dict()
    second.load_state_dict(state)
    one, other = (
        o(outputs_of(of_student), outputs_of(of_teacher), unlabelled(6))[0] for o in (first, second)
    )
    assert torch.equal(one, other)
    with pytest.raises(ValueError, match="students of a queue are"):
        made(queue=9).load_state_dict(state)
    with pytest.raises(ValueError, match="students of a queue are"):
        made(storage="fp16").load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"neighbours": 9}, r"neighbours is 9, it must be in 1\.\.8"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"queue": 0}, "must be in 1"),
        ({"q": -0.1, "two_sided": True}, "q must be 0 or more"),
        ({"storage": "fp8"}, "storage is 'fp8'"),
    ],
)
def test_what_cannot_be_is_refused(options, reason):
    with pytest.raises(FacedistillError, match=reason):
        made(**options)


def test_needs_a_teacher():
    with pytest.raises(FacedistillError, match="'rad_queue' needs a teacher"):
        create_objective("rad_queue", RunContext(STUDENT, None, 0))
