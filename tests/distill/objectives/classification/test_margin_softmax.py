import math

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.heads.margin import HEADS
from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, softmax, unit

LABELS = [0, 1, 2, 0, 1, 2, 3]
BATCH = batch_of(LABELS)
SCALE = 16.0
MARGINS = {
    "softmax": {},
    "arcface": {"m": 0.5},
    "cosface": {"m": 0.4},
    "combined": {"m1": 1.1, "m2": 0.2, "m3": 0.1},
    "adaface": {"m": 0.4, "h": 0.333},
}


def made(head, **options):
    objective = create_objective(
        "margin_softmax",
        RunContext(5, None, 4),
        head=head,
        scale=SCALE,
        **MARGINS[head],
        **options,
    )
    return objective.double().eval()  # AdaFace's statistics move in training mode only.


def embeddings():
    return 3 * torch.randn(7, 5, dtype=torch.float64)


def harder(head, cosine, embedding):
    angle = math.acos(cosine)
    if head == "softmax":
        return cosine
    if head == "arcface":
        return math.cos(angle + 0.5) if angle + 0.5 < math.pi else cosine - 0.5 * math.sin(0.5)
    if head == "cosface":
        return cosine - 0.4
    if head == "combined":
        if 1.1 * angle + 0.2 < math.pi:
            return math.cos(1.1 * angle + 0.2) - 0.1
        shortfall = math.pi - (math.pi - 0.2) / 1.1
        return cosine - shortfall * math.sin(shortfall) - 0.1
    norm = min(max(math.sqrt(dot(embedding, embedding)), 1e-3), 100)
    quality = min(max((norm - 20) / (100 + 1e-3) * 0.333, -1), 1)
    angle = min(max(angle - 0.4 * quality, 1e-3), math.pi - 1e-3)
    return math.cos(angle) - (0.4 + 0.4 * quality)


def by_hand(head, objective, of_student, smoothing):
    centres = objective.head.weight.tolist()
    total, right = 0.0, 0
    for embedding, label in zip(of_student.tolist(), LABELS, strict=True):
        cosines = [dot(unit(embedding), unit(centre)) for centre in centres]
        cosines[label] = harder(head, cosines[label], embedding)
        p = softmax([SCALE * c for c in cosines])
        target = [smoothing / 4 + (1 - smoothing) * (k == label) for k in range(4)]
        total -= sum(t * math.log(q) for t, q in zip(target, p, strict=True))
        right += p.index(max(p)) == label
    return total / len(of_student), right / len(of_student)


def test_every_head_is_tested():
    assert set(MARGINS) == set(HEADS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("head", sorted(MARGINS))
def test_is_the_mean_cross_entropy_of_hardened_cosines(head, smoothing):
    objective, of_student = made(head, label_smoothing=smoothing), embeddings()
    loss, parts = objective(outputs_of(of_student), outputs_of(), BATCH)
    expected, accuracy = by_hand(head, objective, of_student, smoothing)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, abs=1e-10)
    assert parts["accuracy"].item() == pytest.approx(accuracy)
    assert not parts["accuracy"].requires_grad


@pytest.mark.parametrize("head", sorted(MARGINS))
def test_gradients(head):
    objective = made(head, label_smoothing=0.1)
    of_student = embeddings().requires_grad_()

    def loss(x, weight):
        call = {"head.weight": weight}
        return torch.func.functional_call(objective, call, (outputs_of(x), outputs_of(), BATCH))[0]

    # AdaFace's margin follows the norm but does not teach it: its angle is held, by design.
    if head == "adaface":
        assert torch.autograd.gradcheck(
            lambda w: loss(of_student.detach(), w), objective.head.weight
        )
    else:
        assert gradcheck(loss, (of_student, objective.head.weight))


def test_sub_centres_and_straight_through_reach_the_head():
    objective = made("arcface", sub_centres=2, gradient="straight_through")
    assert objective.head.weight.shape == (8, 5)
    assert objective.head.gradient == "straight_through"


@pytest.mark.parametrize("head", sorted(MARGINS))
def test_logits_are_scaled_cosines_without_margin(head):
    objective, of_student = made(head), embeddings()
    centres = objective.head.weight.tolist()
    expected = [[SCALE * dot(unit(e), unit(c)) for c in centres] for e in of_student.tolist()]
    assert torch.allclose(objective.logits(of_student), torch.tensor(expected).double(), atol=1e-5)
    for row, wanted in zip(objective.logits(of_student).tolist(), expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_the_loss_is_float32(dtype):
    objective, of_student = made("arcface").float(), embeddings().to(dtype)
    exact, _ = objective.double()(outputs_of(of_student.double()), outputs_of(), BATCH)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective.float()(outputs_of(of_student), outputs_of(), BATCH)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_label_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(FacedistillError, match="label_smoothing is"):
        made("arcface", label_smoothing=smoothing)
