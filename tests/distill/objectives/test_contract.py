"""What holds of every method; each one's own definition is tested in its own file."""

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.base import Classifier
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import said
from tests.distill.objectives.methods import (
    CENTRES,
    LABELLED,
    METHODS,
    PEOPLE,
    RELATIONS,
    STUDENT,
    batch,
    cast,
    made,
    setting,
    spoken,
)


@pytest.mark.parametrize("name", METHODS)
def test_gradients(name):
    objective, (ours, theirs) = made(name).double(), spoken()
    objective(ours, theirs, batch())
    # What follows the batches stands still, as it does within a step.
    objective.eval()
    embedding, logits = ours.embedding.requires_grad_(), ours.logits.requires_grad_()

    def loss(embedding, logits):
        return objective(said(embedding, logits), theirs, batch())[0]

    assert gradcheck(loss, (embedding, logits))
    loss(embedding, logits).backward()
    read = logits if name == "gkd" else embedding
    assert read.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [*METHODS, "fcd", "embedding_mse", "rad_queue", "kd"])
def test_says_whether_gradient_reaches_the_teacher(name):
    objective, (ours, theirs) = made(name).double(), spoken()
    objective.observe(ours, theirs, batch())
    objective.finish_step(lambda rows: rows)
    ours.embedding.requires_grad_()
    asked = [need for need in objective.needs if need.startswith("teacher.")]
    outputs = [getattr(theirs, need.removeprefix("teacher.")).requires_grad_() for need in asked]
    ours.logits.requires_grad_()
    loss, _ = objective(ours, theirs, batch())
    found = torch.autograd.grad(loss, outputs, allow_unused=True)
    reached = any(gradient is not None and gradient.abs().sum() > 0 for gradient in found)
    assert reached == objective.adapts_teacher


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_is_computed_in_float32_at_least(name, autocast):
    # Of embeddings that half precision holds exactly, every precision says the same. What is
    # learned on the way to the loss (`crd`) may round under autocast.
    size = {} if name == "crd" else {"student": 4, "teacher": 4}
    ours, theirs = (cast(x, torch.bfloat16) for x in spoken(**size))
    exact, _ = made(name, setting(**size)).double()(
        cast(ours, torch.float64), cast(theirs, torch.float64), batch()
    )
    assert exact.dtype == torch.float64
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss, parts = made(name, setting(**size))(
                cast(ours, dtype), cast(theirs, dtype), batch()
            )
        assert loss.dtype == torch.float32
        assert loss.shape == ()
        rounded = name == "crd" and autocast
        assert loss.item() == pytest.approx(exact.item(), rel=0.02 if rounded else 2e-4, abs=1e-6)
        assert all(not part.requires_grad for part in parts.values())


@pytest.mark.parametrize("name", RELATIONS)
def test_a_turned_copy_of_the_teacher_has_its_relations(name):
    _, theirs = spoken()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    students = theirs.embedding @ turn, theirs.embedding, spoken()[0].embedding
    turned, same, other = (made(name)(said(x), theirs, batch())[0].item() for x in students)
    assert turned == pytest.approx(same, abs=1e-12)
    # DarkRank is a likelihood: even the teacher's own scores leave an order in doubt.
    if name != "darkrank":
        assert same == pytest.approx(0, abs=1e-12)
        assert other > 1e-5


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_the_smallest_batches_are_learned_from(name, count):
    objective, ours, theirs = made(name), *(cast(x, torch.float32) for x in spoken(count=count))
    embedding = ours.embedding.requires_grad_()
    loss, parts = objective(said(embedding, ours.logits.requires_grad_()), theirs, batch(count))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(part) for part in parts.values())
    assert embedding.grad is None or torch.isfinite(embedding.grad).all()


@pytest.mark.parametrize("name", METHODS)
def test_images_that_a_network_does_not_tell_apart_give_no_nan(name):
    objective, ours, theirs = made(name), *(cast(x, torch.float32) for x in spoken())
    embedding = ours.embedding[:1].repeat(8, 1).requires_grad_()
    loss, _ = objective(said(embedding, ours.logits.requires_grad_()), theirs, batch())
    loss.backward()
    assert torch.isfinite(loss)
    assert embedding.grad is None or embedding.grad.abs().max() < 1e6


@pytest.mark.parametrize("name", METHODS)
def test_without_a_teacher_is_refused(name):
    with pytest.raises(FacedistillError, match=f"'{name}' needs a teacher"):
        create_objective(name, RunContext(STUDENT, None, PEOPLE))


@pytest.mark.parametrize("name", [*LABELLED, *CENTRES, "gkd"])
def test_without_labels_is_refused(name):
    with pytest.raises(FacedistillError, match=f"'{name}' needs labels"):
        made(name, setting(people=0))


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in CENTRES[1:]] + [("adadistill", {"centres": "teacher"})],
)
def test_without_centres_is_refused(name, options):
    with pytest.raises(FacedistillError, match=f"'{name}' takes class centres"):
        create_objective(name, RunContext(STUDENT, 3, PEOPLE), **options)


@pytest.mark.parametrize("name", CENTRES)
def test_centres_classify_and_do_not_train(name):
    objective, (ours, theirs) = made(name), spoken()
    assert isinstance(objective, Classifier)
    assert objective.logits(ours.embedding.float()).shape == (8, PEOPLE)
    before = objective.head.weight.clone()
    objective(cast(ours, torch.float32), theirs, batch())[0].backward()
    assert objective.head.weight.grad is None
    assert objective.project.weight.grad.abs().sum() > 0
    assert torch.equal(objective.head.weight, before)
    with pytest.raises(FacedistillError, match="projection: true"):
        made(name, projection=False)


@pytest.mark.parametrize(
    ("name", "options", "said"),
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
def test_an_option_out_of_range_is_refused(name, options, said):
    with pytest.raises(FacedistillError, match=said):
        made(name, **options)
