import math

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from tests.distill.objectives.by_hand import batch_of, outputs_of, unit

LABELS = [0, 1, 0, 2, 1, 0, 3]
BATCH = batch_of(LABELS)
SAMPLINGS = ["batch_hard", "semi_hard", "all"]


def made(**options):
    return create_objective("triplet", RunContext(4, None, 4), **options)


def embeddings(count=7):
    return 3 * torch.randn(count, 4, dtype=torch.float64)


def measured(embedding, squared):
    rows = [unit(row) for row in embedding.tolist()]
    square = [[sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for b in rows] for a in rows]
    return square if squared else [[math.sqrt(value) for value in row] for row in square]


def triplets_by_hand(d, labels, sampling):
    """(d(a, p), d(a, n)) of every triplet that is looked at, by brute force."""
    images, found = range(len(labels)), []
    for a in images:
        positives = [p for p in images if p != a and labels[p] == labels[a]]
        negatives = [n for n in images if labels[n] != labels[a]]
        if not positives or not negatives:
            continue
        if sampling == "batch_hard":
            found.append((max(d[a][p] for p in positives), min(d[a][n] for n in negatives)))
            continue
        for p in positives:
            if sampling == "all":
                found += [(d[a][p], d[a][n]) for n in negatives]
            else:
                farther = [d[a][n] for n in negatives if d[a][n] > d[a][p]]
                chosen = min(farther) if farther else max(d[a][n] for n in negatives)
                found.append((d[a][p], chosen))
    return found


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("labels", [LABELS, [0, 1, 0, 1, 0, 1, 1], [2, 2, 2, 2, 2, 2, 0]])
def test_is_the_mean_over_the_sampled_triplets(labels, sampling, squared):
    embedding = embeddings(len(labels))
    found = triplets_by_hand(measured(embedding, squared), labels, sampling)
    costs = [max(0.0, near - far + 0.3) for near, far in found]
    active = sum(cost > 0 for cost in costs)
    loss, parts = made(sampling=sampling, squared=squared, margin=0.3)(
        outputs_of(embedding), outputs_of(), batch_of(labels)
    )
    count = active if sampling == "all" else len(found)
    assert loss.item() == pytest.approx(sum(costs) / max(1, count), abs=1e-10)
    assert parts["active"].item() == pytest.approx(active / len(found))
    assert parts["triplets"].item() == len(found)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_gradients(sampling, squared):
    embedding = embeddings().requires_grad_()
    objective = made(sampling=sampling, squared=squared, margin=1.0)
    assert gradcheck(lambda x: objective(outputs_of(x), outputs_of(), BATCH)[0], embedding)


def test_a_semi_hard_negative_is_beyond_the_positive():
    angles = torch.tensor([0.0, 0.5, 0.2, 0.7, 3.0], dtype=torch.float64)
    embedding = torch.stack([angles.cos(), angles.sin()], 1)
    objective = made(sampling="semi_hard", squared=False, margin=0.3)
    # The nearest negative of anchor 0, at 0.2, is closer than its positive at 0.5: the one at 0.7
    # is taken. Anchor 1 has negatives on both sides, at 0.2 and 0.3, and beyond its positive only
    # the one at 2.5.
    loss, _ = objective(outputs_of(embedding), outputs_of(), batch_of([0, 0, 1, 2, 3]))
    chord = [2 * math.sin(angle / 2) for angle in (0.5, 0.7, 2.5)]
    wanted = max(0, chord[0] - chord[1] + 0.3) + max(0, chord[0] - chord[2] + 0.3)
    assert loss.item() == pytest.approx(wanted / 2, abs=1e-12)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 0]])
def test_a_batch_without_triplets_costs_nothing(labels, sampling):
    embedding = embeddings(4).requires_grad_()
    loss, parts = made(sampling=sampling)(outputs_of(embedding), outputs_of(), batch_of(labels))
    loss.backward()
    assert loss.item() == 0
    assert parts["triplets"].item() == 0
    assert not embedding.grad.any()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_equal_images_give_no_nan(sampling):
    embedding = torch.ones(7, 4, requires_grad=True)
    loss, _ = made(sampling=sampling, squared=False)(outputs_of(embedding), outputs_of(), BATCH)
    loss.backward()
    assert loss.item() == pytest.approx(0.2)
    assert torch.isfinite(embedding.grad).all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_dtypes(sampling):
    embedding = embeddings()
    objective = made(sampling=sampling)
    exact, _ = objective(outputs_of(embedding), outputs_of(), BATCH)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective(outputs_of(embedding.float()), outputs_of(), BATCH)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sampling": "hard"}, "sampling is 'hard', it must be one of batch_hard, semi_hard, all"),
        ({"margin": 0}, "margin is 0"),
        ({"margin": math.nan}, "margin is nan"),
        ({"squared": "yes"}, "squared is 'yes', it must be true or false"),
    ],
)
def test_wrong_options_are_refused(options, reason):
    with pytest.raises(FacedistillError, match=reason):
        made(**options)
    with pytest.raises(FacedistillError, match="needs labels"):
        create_objective("triplet", RunContext(4, None, 0))
