import pytest
import torch
from torch.autograd import gradcheck

from facedistill.distill.objectives.relations import relation
from facedistill.distill.objectives.relations.relation import (
    check_penalty,
    penalty,
    relations,
    unit,
)
from tests.distill.objectives.by_hand import dot


def case(batch=5, rows=9, dimension=4, near=3):
    units = unit(torch.randn(batch, dimension, dtype=torch.float64))
    vectors = unit(torch.randn(rows, dimension, dtype=torch.float64))
    return units, vectors, torch.randint(0, rows, (batch, near))


@pytest.mark.parametrize("numbers", [1, 12, 30, 1 << 20])
def test_relations_are_cosines_whatever_the_chunks(monkeypatch, numbers):
    monkeypatch.setattr(relation, "_ON_CPU", numbers)
    units, vectors, indices = case()
    units.requires_grad_()
    found = relations(units, vectors, indices)
    for i, places in enumerate(indices.tolist()):
        for k, place in enumerate(places):
            expected = dot(units[i].tolist(), vectors[place].tolist())
            assert found[i, k].item() == pytest.approx(expected, abs=1e-12)
    weights = torch.randn(5, 3, dtype=torch.float64)
    (found * weights).sum().backward()
    for i, places in enumerate(indices.tolist()):
        expected = sum(w * vectors[place] for w, place in zip(weights[i], places, strict=True))
        torch.testing.assert_close(units.grad[i], expected)


def test_gradients():
    units, vectors, indices = case()
    assert gradcheck(lambda x: relations(x, vectors, indices), units.requires_grad_())


def test_half_precision_rows_are_multiplied_in_single():
    units, vectors, indices = case(dimension=64)
    exact = relations(units, vectors.half().double(), indices)
    with torch.autocast("cpu", torch.bfloat16):
        found = relations(units.float(), vectors.half(), indices)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=1e-6, rtol=0)


def test_no_neighbours_and_no_samples():
    units, vectors, _ = case()
    assert relations(units, vectors, torch.empty(5, 0, dtype=torch.int64)).shape == (5, 0)
    assert relations(units[:0], vectors, torch.empty(0, 3, dtype=torch.int64)).shape == (0, 3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 0, 0, 0.05, 0.3]),
        ({"squared": True}, [0, 0, 0, 0.0025, 0.09]),
        ({"two_sided": True}, [0.3, 0.05, 0, 0.05, 0.3]),
        ({"two_sided": True, "squared": True}, [0.09, 0.0025, 0, 0.0025, 0.09]),
    ],
)
def test_penalty(options, expected):
    differences = torch.tensor([-0.4, -0.15, 0.0, 0.15, 0.4], dtype=torch.float64)
    found = penalty(differences, 0.1, **options)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_a_negative_margin_asks_for_more_than_the_teacher():
    found = penalty(torch.tensor([-0.2, 0.0, 0.1]), -0.1)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.1, 0.2]))


def test_margins_that_make_no_sense_are_refused():
    check_penalty(-0.1, two_sided=False)
    check_penalty(0.0, two_sided=True)
    with pytest.raises(ValueError, match=r"q is -0\.1 and two_sided"):
        check_penalty(-0.1, two_sided=True)
    for q in (2.1, -3, float("nan")):
        with pytest.raises(ValueError, match="difference of cosines"):
            check_penalty(q, two_sided=False)
