import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics import embedding_health as module
from facedistill.evaluation.metrics.embedding_health import embedding_health


def test_figures_are_those_of_their_definitions(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 7)
    rows = np.random.default_rng(0).normal(size=(40, 6)) * [3, 2, 1, 1, 1, 0.1] + 1
    found = embedding_health(rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    variances = np.linalg.eigvalsh(np.cov(unit.T, bias=True))
    assert found.mean_length == pytest.approx(np.linalg.norm(unit.mean(0)))
    assert found.mean_length**2 == pytest.approx((unit @ unit.T).mean())
    away = np.square(unit - unit.mean(0)).sum(1).mean()
    assert found.spread == pytest.approx(np.sqrt(away))
    assert found.effective_dimension == pytest.approx(variances.sum() ** 2 / (variances**2).sum())
    assert (found.images, found.dimension, found.long_norms) == (40, 6, 0)
    assert found.problems() == []
    assert found.line().endswith("of 6, 0 of 40 norms above 10 times the median")


def test_more_dimensions_than_images_are_measured_alike():
    rows = np.random.default_rng(1).normal(size=(5, 4)) + 1
    narrow, wide = (
        embedding_health(rows[:, :4]),
        embedding_health(np.pad(rows[:, :4], [(0, 0), (0, 9)])),
    )
    assert wide.effective_dimension == pytest.approx(narrow.effective_dimension)
    assert wide.mean_length == pytest.approx(narrow.mean_length)


def test_an_even_spread_uses_all_dimensions():
    found = embedding_health(np.concatenate([np.eye(5), -np.eye(5)]))
    assert found.mean_length == 0
    assert found.effective_dimension == pytest.approx(5)


def test_collapse_is_told():
    rng = np.random.default_rng(0)
    rows = np.ones(64) + 0.01 * rng.normal(size=(50, 64))
    (problem,) = embedding_health(rows).problems()
    assert problem.startswith("the embeddings have collapsed")
    assert embedding_health(np.ones((3, 4))).effective_dimension >= 1
    assert not embedding_health(np.ones(64) + rng.normal(size=(50, 64))).problems()


def test_exploded_norms_are_counted():
    rows = np.random.default_rng(0).normal(size=(50, 64))
    rows[3:5] *= 600
    found = embedding_health(rows)
    assert found.long_norms == 2
    assert "2 of 50 embeddings are more than 10 times as long" in found.problems()[0]
    # A scale that all share is no fault.
    assert embedding_health(rows[5:] * 1e6).problems() == []


def test_nothing_to_look_at_is_refused():
    with pytest.raises(FacedistillError, match="no embeddings"):
        embedding_health(np.ones((0, 4)))
