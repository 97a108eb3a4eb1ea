import numpy as np
import pytest

from facedistill.evaluation.metrics.roc import roc_curve, tar_at_far
from facedistill.evaluation.protocols.pair_scores import report_scores


def test_resampled_figures_are_those_of_the_resampled_pairs():
    # Every resample of one genuine and one impostor pair is the same pairs: no width.
    same = np.array([True, False])
    report = report_scores("two", np.array([0.2, 0.2]), same, folds=2, fars=(1.0,), resamples=5)
    assert report.auc.value == report.auc.interval.low == report.auc.interval.high == 0.5
    assert report.eer.value == report.eer.interval.low == report.eer.interval.high == 0.5
    assert report.tar_intervals["1e0"].low == report.tar_intervals["1e0"].high == 1


def test_interval_of_tar_is_the_spread_of_repeated_draws():
    rng = np.random.default_rng(2)

    def draw():
        same = np.arange(1000) % 2 == 0
        return rng.normal(np.where(same, 0.2, 0.0), 0.1).clip(-1, 1), same

    tars = [tar_at_far(roc_curve(*draw()), 0.1).tar for _ in range(300)]
    interval = report_scores("drawn", *draw(), fars=(0.1,), resamples=300).tar_intervals["1e-1"]
    low, high = np.quantile(tars, [0.025, 0.975])
    assert interval.high - interval.low == pytest.approx(high - low, rel=0.4)
