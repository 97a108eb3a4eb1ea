import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.bank.mining import Neighbours, nearest
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.objectives.relations.rad import random_others
from facedistill.distill.objectives.relations.relation import unit as units
from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, unit
from tests.distill.objectives.contexts import context

IDENTITIES, STUDENT, TEACHER = 7, 5, 4
LABELS = [0, 3, 3, 6, 1, 0]


def setting(student=STUDENT, **changes):
    prototypes = units(torch.randn(IDENTITIES, TEACHER))

    def neighbours(count):
        return Neighbours(prototypes, *nearest(prototypes, min(count, IDENTITIES - 1)))

    return context(**{"student_size": student, "teacher_size": TEACHER, "identities": IDENTITIES,
                      "neighbours": neighbours, **changes})  # fmt: skip


def made(run=None, **options):
    options = {"neighbours": 3, "storage": "fp32"} | options
    return create_objective("rad", run or setting(), **options)


def embeddings(student=STUDENT, count=6):
    return (
        3 * torch.randn(count, student, dtype=torch.float64),
        2 * torch.randn(count, TEACHER, dtype=torch.float64),
    )


def step(objective, labels, student=STUDENT):
    """One optimiser step that only fills the memories."""
    of_student, of_teacher = (x.float() for x in embeddings(student, len(labels)))
    objective.observe(outputs_of(of_student), outputs_of(of_teacher), batch_of(labels))
    objective.finish_step(lambda rows: rows)
    return of_student, of_teacher


def by_hand(objective, of_student, of_teacher, labels, q, two_sided, squared, reference):
    """The definition, one relation at a time."""
    teachers, students = objective.teachers.rows.tolist(), objective.students.rows.tolist()
    seen, near = objective.students.seen.tolist(), objective.neighbours.tolist()
    costs = []
    for f_s, f_t, y in zip(of_student.tolist(), of_teacher.tolist(), labels, strict=True):
        for k in near[y]:
            if reference == "student" and not seen[k]:
                continue
            other = students[k] if reference == "student" else teachers[k]
            delta = dot(unit(f_s), other) - dot(unit(f_t), teachers[k])
            cost = max((abs(delta) if two_sided else delta) - q, 0)
            costs.append(cost**2 if squared else cost)
    return costs


@pytest.mark.parametrize("reference", ["student", "teacher"])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("two_sided", "q"), [(False, 0.03), (False, -0.1), (True, 0.2), (True, 0)])
def test_is_the_mean_over_valid_relations(reference, squared, two_sided, q):
    student = TEACHER if reference == "teacher" else STUDENT
    objective = made(
        setting(student), q=q, two_sided=two_sided, squared=squared, reference=reference
    )
    for labels in ([0, 1, 2], [3, 3, 5, 2]):
        step(objective, labels, student)
    of_student, of_teacher = embeddings(student)
    loss, parts = objective(outputs_of(of_student), outputs_of(of_teacher), batch_of(LABELS))
    costs = by_hand(objective, of_student, of_teacher, LABELS, q, two_sided, squared, reference)
    assert loss.item() == pytest.approx(sum(costs) / max(1, len(costs)), abs=1e-10)
    assert parts["valid"].item() == pytest.approx(len(costs) / (3 * len(LABELS)))
    paid = sum(cost > 0 for cost in costs) / max(1, len(costs))
    assert parts["paid"].item() == pytest.approx(paid)
    if reference == "teacher":
        assert parts["valid"] == 1


def test_three_identities_by_hand():
    # The teacher sees identities 1 and 2 at a right angle to 0; the student has 1 nearer.
    prototypes = torch.eye(3, TEACHER)

    def neighbours(count):
        return Neighbours(prototypes, torch.tensor([[1, 2], [0, 2], [0, 1]]), torch.zeros(3, 2))

    objective = made(context(2, TEACHER, 3, neighbours=neighbours), neighbours=2, q=0.1)
    near_one = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    objective.observe(outputs_of(near_one), outputs_of(prototypes[1:]), batch_of([1, 2]))
    objective.finish_step(lambda rows: rows)
    # delta = 0.6 - 0 and 0 - 0; costs 0.5 and 0.
    of_student, of_teacher = torch.tensor([[2.0, 0.0]]), 5 * prototypes[:1]
    loss, parts = objective(outputs_of(of_student), outputs_of(of_teacher), batch_of([0]))
    assert loss.item() == pytest.approx(0.25)
    assert (parts["valid"].item(), parts["paid"].item()) == (1.0, 0.5)


def test_teachers_start_as_prototypes_and_students_unseen():
    run = setting()
    objective = made(run)
    assert torch.equal(objective.teachers.rows, run.neighbours(1).prototypes)
    assert not objective.students.seen.any()
    of_student, of_teacher = embeddings()
    of_student.requires_grad_()
    loss, parts = objective(outputs_of(of_student), outputs_of(of_teacher), batch_of(LABELS))
    loss.backward()
    assert loss.item() == parts["valid"] == parts["paid"] == 0
    assert not of_student.grad.any()


def test_a_step_overwrites_the_rows_of_its_identities_when_it_is_over():
    objective = made()
    before = objective.teachers.rows.clone()
    parts = [embeddings(count=2), embeddings(count=3)]
    for (of_student, of_teacher), labels in zip(parts, ([4, 1], [1, 4, 1]), strict=True):
        objective.observe(outputs_of(of_student), outputs_of(of_teacher), batch_of(labels))
        assert torch.equal(objective.teachers.rows, before)
    objective.finish_step(lambda rows: rows)
    of_student, of_teacher = (torch.cat(column) for column in zip(*parts, strict=True))
    for identity, place in {4: 3, 1: 4}.items():
        expected = torch.tensor(unit(of_teacher[place].tolist()))
        torch.testing.assert_close(objective.teachers.rows[identity], expected)
        expected = torch.tensor(unit(of_student[place].tolist()))
        torch.testing.assert_close(objective.students.rows[identity], expected)
    assert objective.students.seen.nonzero()[:, 0].tolist() == [1, 4]
    others = [0, 2, 3, 5, 6]
    assert torch.equal(objective.teachers.rows[others], before[others])
    step(objective, [2])
    assert objective.students.seen.nonzero()[:, 0].tolist() == [1, 2, 4]


@pytest.mark.parametrize("reference", ["student", "teacher"])
@pytest.mark.parametrize("squared", [False, True])
def test_gradients(reference, squared):
    student = TEACHER if reference == "teacher" else STUDENT
    objective = made(setting(student), reference=reference, squared=squared, q=0.05)
    step(objective, list(range(IDENTITIES)), student)
    of_student, of_teacher = embeddings(student)
    batch = batch_of(LABELS)
    assert gradcheck(
        lambda x: objective(outputs_of(x), outputs_of(of_teacher), batch)[0],
        of_student.requires_grad_(),
    )


def test_a_teacher_that_is_copied_costs_nothing():
    objective = made(setting(TEACHER), q=0)
    of_teacher = embeddings(count=IDENTITIES)[1].float()
    for _ in range(2):
        objective.observe(
            outputs_of(2 * of_teacher), outputs_of(of_teacher), batch_of(list(range(IDENTITIES)))
        )
        objective.finish_step(lambda rows: rows)
    loss, parts = objective(
        outputs_of(2 * of_teacher), outputs_of(of_teacher), batch_of(list(range(IDENTITIES)))
    )
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert parts["valid"] == 1


@pytest.mark.parametrize(("identities", "count"), [(2, 1), (7, 3), (7, 6), (300, 100)])
def test_random_others_are_distinct_and_never_the_identity_itself(identities, count):
    drawn = random_others(identities, count, 0)
    assert drawn.shape == (identities, count)
    assert drawn.dtype == torch.int64
    for identity, others in enumerate(drawn.tolist()):
        assert len({*others}) == count
        assert {*others} <= {*range(identities)} - {identity}
    assert torch.equal(drawn, random_others(identities, count, 0))


def test_random_others_are_drawn_uniformly():
    # All 20 sets of 3 of the 6 others, for every identity: 1,000 draws each on the average.
    identities, seeds = 7, 20_000
    sets = torch.zeros(identities, 2**identities)
    for seed in range(seeds):
        bits = (1 << random_others(identities, 3, seed)).sum(1)
        sets[torch.arange(identities), bits] += 1
    drawn = [row[row > 0] for row in sets]
    assert [len(row) for row in drawn] == [20] * identities
    statistic = sum(((row - 1_000) ** 2 / 1_000).sum().item() for row in drawn)
    freedom = identities * 19
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_random_neighbours_take_the_place_of_mined_ones():
    context = setting()
    mined, drawn, other = (
        made(context),
        *(made(context, neighbours_by="random", neighbours_seed=seed) for seed in (0, 1)),
    )
    assert torch.equal(mined.neighbours, context.neighbours(3).indices)
    assert torch.equal(drawn.neighbours, random_others(IDENTITIES, 3, 0))
    near = [[{*row} for row in each.neighbours.tolist()] for each in (mined, drawn, other)]
    assert near[0] != near[1] != near[2]
    assert torch.equal(drawn.teachers.rows, mined.teachers.rows)
    for objective in (mined, drawn):
        torch.manual_seed(1)
        step(objective, list(range(IDENTITIES)))
    of_student, of_teacher = embeddings()
    loss = drawn(outputs_of(of_student), outputs_of(of_teacher), batch_of(LABELS))[0]
    costs = by_hand(drawn, of_student, of_teacher, LABELS, 0.03, False, False, "student")
    assert loss.item() == pytest.approx(sum(costs) / len(costs), abs=1e-10)
    assert loss != mined(outputs_of(of_student), outputs_of(of_teacher), batch_of(LABELS))[0]


def test_a_random_draw_leaves_the_runs_own_chance_alone():
    context = setting()
    torch.manual_seed(0)
    made(context, neighbours_by="random")
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


def test_fp16_storage_changes_little():
    context = setting()
    losses = []
    of_student, of_teacher = embeddings()
    first = embeddings(count=IDENTITIES)
    for storage in ("fp16", "fp32"):
        objective = made(context, storage=storage, neighbours=6)
        objective.observe(*map(outputs_of, first), batch_of(list(range(IDENTITIES))))
        objective.finish_step(lambda rows: rows)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = objective(
                outputs_of(of_student.float()), outputs_of(of_teacher.float()), batch_of(LABELS)
            )
        assert loss.dtype == torch.float32
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0] != losses[1]


def test_a_checkpoint_keeps_the_memories():
    run = setting()
    first, second = made(run), made(run)
    step(first, [1, 5, 5])
    second.load_state_dict(first.state_dict())
    of_student, of_teacher = embeddings()
    one, other = (
        o(outputs_of(of_student), outputs_of(of_teacher), batch_of(LABELS))[0]
        for o in (first, second)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("run", "options", "reason"),
    [
        ({"teacher_size": None}, {}, "'rad' needs a teacher"),
        ({"identities": 0}, {}, "'rad' needs labels"),
        ({"neighbours": None}, {}, r"'rad' finds similar identities in a bank .*facedistill embed"),
        ({}, {"reference": "prototype"}, "reference is 'prototype'"),
        ({}, {"reference": "teacher"}, "set student.embedding_size: 4"),
        ({}, {"q": 3}, "q is 3"),
        ({}, {"q": -0.1, "two_sided": True}, "q must be 0 or more"),
        ({}, {"storage": "fp8"}, "storage is 'fp8'"),
        ({}, {"neighbors": 3}, "did you mean 'neighbours'"),
        ({}, {"neighbours_by": "chance"}, "neighbours_by is 'chance'"),
    ],
)
def test_what_cannot_be_is_refused(run, options, reason):
    with pytest.raises(FacedistillError, match=reason):
        made(setting(**run), **options)
