"""What holds of every objective of the registry; each one's definition is tested in its own file.

A new objective is under these tests by being registered. Those of one base class (relations of a
batch, class centres) have further ones below. `test_gathering` has one more of all.
"""

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.base import Classifier
from facedistill.distill.objectives.classification.fixed_centres import FixedCentres
from facedistill.distill.objectives.context import NEEDS
from facedistill.distill.objectives.registry import create_objective, objectives
from facedistill.distill.objectives.relations.batch_relation import BatchRelation
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import outputs_of
from tests.distill.objectives.contexts import context, everything, outputs_asked
from tests.distill.objectives.methods import STUDENT, batch, both_outputs, made
from tests.distill.objectives.registered import (
    ASKED,
    IDENTITIES,
    NAMES,
    every,
    of_type,
    outputs,
    read,
    trained_with,
)

WITH_TEACHER = [name for name in NAMES if any(need.startswith("teacher.") for need in ASKED[name])]
RELATIONS = [name for name in NAMES if issubclass(objectives.get(name), BatchRelation)]
CENTRES = [name for name in NAMES if issubclass(objectives.get(name), FixedCentres)]
AT_START = {"run.class_head", "run.faces", "run.teacher", "run.images_per_identity"}
"""What an objective can be built without: what it has only where there is some, and checks."""


@pytest.mark.parametrize("name", NAMES)
def test_is_registered_under_the_name_of_its_file(name):
    assert objectives.get(name).__module__.split(".")[-1] == name


@pytest.mark.parametrize("name", NAMES)
def test_says_all_it_asks_of_the_run(name):
    run = everything().asked_by(name)
    objective = every(name)
    objective.check(run, {})
    assert run.asked <= objective.needs
    for artifact in objective.artifacts():
        assert artifact.name


@pytest.mark.parametrize("name", NAMES)
def test_what_the_run_lacks_is_refused_in_words(name):
    for need in ASKED[name] & set(NEEDS) - AT_START - {"run.identities", "run.landmarks"}:
        with pytest.raises(FacedistillError, match=f"objective '{name}' {NEEDS[need][:20]}"):
            every(name, everything(**{need.removeprefix("run."): None}))
    if "run.images_per_identity" in ASKED[name]:
        with pytest.raises(FacedistillError, match=f"'{name}' compares images of one identity"):
            every(name).check(everything(images_per_identity=None).asked_by(name), {})


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    objective, (of_student, of_teacher, images) = every(name).double(), outputs()
    trained_with(objective, of_student, of_teacher, images)
    # What follows the batches stands still, as it does within a step.
    objective.eval()
    network, values = (
        ("student", of_student)
        if read(objective, "student", of_student)
        else ("teacher", of_teacher)
    )
    inputs = read(objective, network, values)
    for each in inputs:
        each.requires_grad_()
    named = [
        n.removeprefix(f"{network}.") for n in sorted(outputs_asked(objective)) if network in n
    ]

    def loss(*given):
        changed = Outputs(**{**vars(values), **dict(zip(named, given, strict=True))})
        both = (changed, of_teacher) if network == "student" else (of_student, changed)
        return objective(*both, images)[0]

    few = sum(each.numel() for each in inputs) <= 80
    assert gradcheck(loss, inputs, fast_mode=not few)
    loss(*inputs).backward()
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in inputs)


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_says_whether_gradient_reaches_the_teacher(name):
    objective, (of_student, of_teacher, images) = every(name).double(), outputs()
    trained_with(objective, of_student, of_teacher, images)
    if not read(objective, "student", of_student):
        assert not objective.adapts_teacher
        return
    asked = [each.requires_grad_() for each in read(objective, "teacher", of_teacher)]
    for each in read(objective, "student", of_student):
        each.requires_grad_()
    loss, _ = objective(of_student, of_teacher, images)
    found = torch.autograd.grad(loss, asked, allow_unused=True)
    reached = any(gradient is not None and gradient.abs().sum() > 0 for gradient in found)
    assert reached == objective.adapts_teacher


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_is_computed_in_float32_at_least(name, autocast):
    # Of outputs that half precision holds exactly, every precision says the same. What is learned
    # on the way to the loss may round under autocast.
    run = everything(4, 4)
    of_student, of_teacher, images = outputs(4, 4)
    images.landmarks = images.landmarks.bfloat16().double()
    of_student, of_teacher = (of_type(x, torch.bfloat16) for x in (of_student, of_teacher))
    exact, _ = every(name, run).double()(
        of_type(of_student, torch.float64), of_type(of_teacher, torch.float64), images
    )
    assert exact.dtype == torch.float64
    images.landmarks = images.landmarks.float()  # Labels are never less.
    for dtype in (torch.float32, torch.bfloat16):
        objective = every(name, run)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss, parts = objective(of_type(of_student, dtype), of_type(of_teacher, dtype), images)
        assert loss.dtype == torch.float32
        assert loss.shape == ()
        rounded = autocast and any(weight.requires_grad for weight in objective.parameters())
        assert loss.item() == pytest.approx(exact.item(), rel=0.03 if rounded else 2e-4, abs=1e-6)
        assert all(not part.requires_grad for part in parts.values())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_batches_are_learned_from_or_refused_in_words(name, count):
    objective, (of_student, of_teacher, images) = every(name), outputs(count=count)
    images.landmarks = images.landmarks.float()
    of_student, of_teacher = of_type(of_student, torch.float32), of_type(of_teacher, torch.float32)
    inputs = [each.requires_grad_() for each in read(objective, "student", of_student)]
    inputs += [each.requires_grad_() for each in read(objective, "teacher", of_teacher)]
    try:
        loss, parts = objective(of_student, of_teacher, images)
    except FacedistillError as error:
        if count == 1 and "training.batch_size" in str(error):
            return
        raise
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(part) for part in parts.values())
    assert all(each.grad is None or torch.isfinite(each.grad).all() for each in inputs)


@pytest.mark.parametrize("name", NAMES)
def test_images_that_a_network_does_not_tell_apart_give_no_nan(name):
    objective, (of_student, of_teacher, images) = every(name), outputs()
    images.landmarks = images.landmarks.float()
    alike = {
        key: None if value is None else value[:1].expand_as(value).float().clone()
        for key, value in vars(of_student).items()
    }
    of_student, of_teacher = Outputs(**alike), of_type(of_teacher, torch.float32)
    inputs = [each.requires_grad_() for each in read(objective, "student", of_student)]
    inputs += [each.requires_grad_() for each in read(objective, "teacher", of_teacher)]
    loss, _ = objective(of_student, of_teacher, images)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(each.grad is None or each.grad.abs().max() < 1e6 for each in inputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_goes_on_where_it_stopped(name):
    first, second, batches = every(name), every(name), [outputs() for _ in range(3)]
    for of_student, of_teacher, images in batches:
        images.landmarks = images.landmarks.float()
        given = of_type(of_student, torch.float32), of_type(of_teacher, torch.float32), images
        trained_with(first, *given)
    second.load_state_dict(first.state_dict())
    losses = []
    for objective in (first, second):
        torch.manual_seed(6)
        losses += [trained_with(objective, *given), trained_with(objective, *given)]
    assert torch.equal(torch.stack(losses[:2]), torch.stack(losses[2:]))


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_without_a_teacher_is_refused(name):
    with pytest.raises(FacedistillError, match=f"'{name}' needs a teacher"):
        every(name, everything(teacher_size=None))


@pytest.mark.parametrize("name", [n for n in NAMES if "run.identities" in ASKED[n]])
def test_without_labels_is_refused(name):
    with pytest.raises(FacedistillError, match=f"'{name}' needs labels"):
        every(name, everything(identities=0))


@pytest.mark.parametrize("name", RELATIONS)
def test_a_turned_copy_of_the_teacher_has_its_relations(name):
    _, of_teacher = both_outputs()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    students = of_teacher.embedding @ turn, of_teacher.embedding, both_outputs()[0].embedding
    turned, same, other = (
        made(name)(outputs_of(x), of_teacher, batch())[0].item() for x in students
    )
    assert turned == pytest.approx(same, abs=1e-12)
    # DarkRank is a likelihood: even the teacher's own scores leave an order in doubt.
    if name != "darkrank":
        assert same == pytest.approx(0, abs=1e-12)
        assert other > 1e-5


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {"centres": "teacher"} if name == "adadistill" else {}) for name in CENTRES],
)
def test_without_centres_is_refused(name, options):
    with pytest.raises(FacedistillError, match=f"'{name}' takes class centres"):
        create_objective(name, context(STUDENT, 3, IDENTITIES), **options)


@pytest.mark.parametrize("name", CENTRES)
def test_centres_classify_and_do_not_train(name):
    objective, (of_student, of_teacher) = made(name), both_outputs()
    assert isinstance(objective, Classifier)
    assert objective.logits(of_student.embedding.float()).shape == (8, IDENTITIES)
    before = objective.head.weight.clone()
    objective(of_type(of_student, torch.float32), of_teacher, batch())[0].backward()
    assert objective.head.weight.grad is None
    assert objective.project.weight.grad.abs().sum() > 0
    assert torch.equal(objective.head.weight, before)
    with pytest.raises(FacedistillError, match="projection: true"):
        made(name, projection=False)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cckd", {"gamma": 0}, "gamma is 0"),
        ("cckd", {"order": 11}, "order is 11"),
        ("darkrank", {"alpha": -1}, "alpha is -1"),
        ("darkrank", {"beta": 0.5}, "beta is 0.5"),
        ("darkrank", {"items": 1}, "items is 1"),
        ("margin_distillation", {"smallest": 0.6}, "margins are 0.6 and 0.5"),
        ("triplet_distillation", {"largest": 5}, "margins are 0.2 and 5"),
        ("adadistill", {"centres": "bank"}, "centres is 'bank'"),
        ("arcdistill", {"sub_centres": 3}, "sub_centres must be 1"),
        ("arcdistill", {"mm": 3}, "mm"),
        ("gkd", {"tau": 0}, "tau is 0"),
        ("gkd", {"share": 1}, "share is 1"),
        ("gkd", {"primary": -1}, "primary and binary are -1"),
        ("gkd", {"step": 0}, "step is 0"),
        ("gkd", {"margin": 1.6}, "margin is 1.6"),
        ("gkd", {"scale": 0.0}, "scale is 0.0"),
        ("ekd", {"hardest": 0}, "hardest is 0"),
        ("ekd", {"positive": -1}, "positive and negative are -1"),
        ("ekd", {"momentum": 0}, "'ekd': momentum is 0, it must be above 0 and at most 1$"),
        ("ekd", {"tau": 2}, "'ekd': tau is 2, it must be above 0 and at most 1$"),
        ("crd", {"negatives": 0}, "dimension and negatives are 128 and 0"),
        ("crd", {"momentum": 1}, "'crd': momentum is 1, it must be 0 or more and below 1$"),
        ("crd", {"tau": 0}, "'crd': tau is 0, it must be above 0 and at most 1$"),
        ("rkd_angle", {"normalise": 2}, "normalise is 2"),
    ],
)
def test_an_option_out_of_range_is_refused(name, options, message):
    with pytest.raises(FacedistillError, match=message):
        made(name, **options)
