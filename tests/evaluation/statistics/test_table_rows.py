import numpy as np
import pytest
from scipy import stats

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.protocols.pair_scores import report_scores
from facedistill.evaluation.statistics.table_rows import (
    Measured,
    Row,
    RunResult,
    Truth,
    assemble,
    figures_of,
    over_seeds,
    paired_difference,
)


def random_truth(pairs=60, identities=12, seed=0):
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    first = rng.integers(identities, size=pairs)
    second = np.where(same, first, (first + 1 + rng.integers(identities - 1, size=pairs)))
    return Truth(same, np.stack([first, second % identities], axis=1))


def by_hand(gains, identities, resamples, seed):
    """Identities drawn one resample after the other, pairs counted one by one."""
    rng = np.random.default_rng(seed)
    count = int(identities.max()) + 1
    drawn = rng.integers(count, size=(resamples, count))
    means = []
    for resample in drawn:
        total = weight = 0.0
        for gain, (one, other) in zip(gains, identities, strict=True):
            times = int((resample == one).sum())
            if one != other:
                times *= int((resample == other).sum())
            total, weight = total + times * gain, weight + times
        means.append(total / weight)
    return np.quantile(means, [0.025, 0.975])


def test_paired_differences_are_those_of_a_loop_over_identities_and_pairs():
    truth = random_truth()
    rng = np.random.default_rng(1)
    first = [rng.random(60) < 0.8 for _ in range(3)]
    second = [rng.random(60) < 0.6 for _ in range(2)]
    found = paired_difference(first, second, truth, resamples=40, seed=7)
    gains = []
    for pair in range(60):
        gains.append(sum(d[pair] for d in first) / 3 - sum(d[pair] for d in second) / 2)
    assert found.value == pytest.approx(sum(gains) / 60)
    low, high = by_hand(gains, truth.identities, 40, 7)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high))
    assert found.interval.over == "identities"
    with pytest.raises(FacedistillError, match="not measured on the same"):
        paired_difference([first[0][:50]], second, truth)


def test_means_over_seeds_have_student_intervals_and_a_single_seed_its_own():
    figures = [{"a": Estimate(value, None), "b": Estimate(1.0, None)} for value in (0.5, 0.6, 0.9)]
    del figures[1]["b"]
    mean = over_seeds(figures)
    assert list(mean) == ["a"]
    low, high = stats.t.interval(0.95, 2, np.mean([0.5, 0.6, 0.9]), stats.sem([0.5, 0.6, 0.9]))
    assert (mean["a"].interval.low, mean["a"].interval.high) == pytest.approx((low, high))
    alone = {"a": Estimate(0.5, Interval(0.4, 0.6, "identities", 9))}
    assert over_seeds([alone]) == alone


def test_figures_of_pairs_and_of_anything_else():
    truth = random_truth(200)
    scores = np.where(truth.same, 0.5, 0.1) + 0.2 * np.random.default_rng(0).normal(size=200)
    report = report_scores("x", np.clip(scores, -1, 1), truth.same, fars=(0.1, 1e-6), resamples=9)
    figures = figures_of(report.to_dict())
    assert list(figures) == ["accuracy", "auc", "eer", "tar@1e-1"]
    assert figures["accuracy"] == Estimate(report.accuracy, report.result.interval)
    assert figures["tar@1e-1"] == Estimate(report.points[0].tar, report.tar_intervals["1e-1"])
    other = {"nme": {"value": 0.1, "interval": None}, "faces": 9, "name": "x"}
    other["failures"] = {"0.08": {"value": 0.2, "interval": None}}
    assert figures_of(other) == {"nme": Estimate(0.1, None), "failures@0.08": Estimate(0.2, None)}


def test_of_all_pairs_the_rate_at_one_in_a_thousand_comes_first():
    points = {"1e-2": 0.9, "1e-3": 0.7, "1e-4": None}
    report = {
        "protocol": "all_pairs",
        "auc": 0.99,
        "eer": 0.02,
        "tar_at_far": {far: {"tar": tar, "interval": None} for far, tar in points.items()},
    }
    assert list(figures_of(report)) == ["tar@1e-3", "tar@1e-2", "auc", "eer"]


def run(seed, right, seconds=None, error=None):
    if error:
        return RunResult(seed, error)
    report = {"share": {"value": float(np.mean(right)), "interval": None}}
    return RunResult(seed, None, {"set": Measured(report, np.array(right))}, 10, 20, seconds)


def test_rows_are_compared_with_those_that_have_a_result():
    truth = Truth(np.array([True, False, True, False]))
    plain = Row("plain", "", [run(0, [1, 0, 0, 1], 2.0), run(1, None, error="gone")])
    distilled = Row("distilled", "", [run(0, [1, 1, 1, 1], 3.0)])
    broken = Row("fcd", "", [run(0, None, error="gone")])
    rows = assemble([plain, distilled, broken], {"set": truth}, ["fcd", "plain"])
    assert [row.step_ratio for row in rows] == [1.0, 1.5, None]
    assert rows[1].differences["set"]["plain"].value == 0.5
    assert rows[0].differences["set"] == rows[2].differences["set"] == {}
    assert rows[0].errors == {1: "gone"}
    assert rows[0].figures["set"]["share"].value == 0.5


def test_a_figure_that_is_not_finite_is_not_averaged():
    one, other = ({"nme": Estimate(nme, None), "auc": Estimate(0.5, None)} for nme in (0.1, np.nan))
    means = over_seeds([one, other])
    assert np.isnan(means["nme"].value)
    assert means["nme"].interval is None
    assert means["auc"].value == 0.5
    truth = Truth(np.ones(4, bool))
    less = paired_difference([np.ones(4)], [np.array([1, np.nan, 0, 0])], truth)
    assert np.isnan(less.value)
    assert less.interval is None
