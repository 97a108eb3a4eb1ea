import dataclasses
import json

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.roc import roc_curve, tar_at_far
from facedistill.evaluation.protocols.pair_scores import report_scores
from facedistill.evaluation.statistics.bootstrap import bootstrap_weights
from facedistill.evaluation.statistics.paired_difference import compare_reports, compare_tar


def two_models(noise=0.1, gap=0.3, pairs=600):
    rng = np.random.default_rng(2)
    same = np.arange(pairs) % 2 == 0
    shared = rng.normal(size=pairs) * 0.15
    first = np.clip(np.where(same, 0.5, 0.1) + shared, -1, 1)
    second = np.clip(
        np.where(same, 0.5 - gap, 0.1) + shared + noise * rng.normal(size=pairs), -1, 1
    )
    return first, second, same


def test_difference_is_that_of_the_two_rates_and_the_test_is_on_genuine_pairs():
    first, second, same = two_models()
    comparison = compare_tar(first, second, same, 0.05, resamples=200)
    points = [tar_at_far(roc_curve(scores, same), 0.05) for scores in (first, second)]
    assert comparison.difference == pytest.approx(points[0].tar - points[1].tar)
    assert comparison.pairs == same.sum()
    assert comparison.only_first - comparison.only_second == pytest.approx(
        comparison.difference * comparison.pairs
    )
    assert comparison.interval.low < comparison.difference < comparison.interval.high
    assert comparison.interval.low > 0
    assert comparison.p_value < 1e-3


def test_resamples_are_paired_and_find_each_threshold_anew():
    first, second, same = two_models(pairs=60)
    comparison = compare_tar(first, second, same, 0.1, resamples=40, seed=5)
    differences = []
    for weights in np.concatenate(list(bootstrap_weights(same, resamples=40, seed=5))):
        tars = []
        for scores in (first, second):
            kept = [0.0]
            for threshold in scores:
                accepted = scores >= threshold
                if weights[accepted & ~same].sum() / weights[~same].sum() <= 0.1:
                    kept.append(weights[accepted & same].sum() / weights[same].sum())
            tars.append(max(kept))
        differences.append(tars[0] - tars[1])
    assert comparison.interval.low == pytest.approx(np.quantile(differences, 0.025))
    assert comparison.interval.high == pytest.approx(np.quantile(differences, 0.975))


def test_a_model_does_not_differ_from_itself():
    first, _, same = two_models()
    report = report_scores("set", first, same, fars=(0.1, 1e-6), resamples=0)
    comparison = compare_reports(report, report, resamples=100)
    for part in (comparison.accuracy, comparison.tar["1e-1"]):
        assert (part.difference, part.p_value) == (0, 1)
        assert (part.interval.low, part.interval.high) == (0, 0)
    assert list(comparison.tar) == ["1e-1"]


def test_reports_are_compared_by_accuracy_and_every_rate():
    first, second, same = two_models()
    pair_identities = np.stack([np.arange(600) // 2 % 60, np.arange(600) // 2 % 60 + 60 * ~same], 1)
    one, other = (
        report_scores(
            "set", scores, same, identities=pair_identities, resamples=0, fars=(0.1, 0.01)
        )
        for scores in (first, second)
    )
    comparison = compare_reports(one, other, resamples=100)
    assert comparison.accuracy.difference == pytest.approx(one.accuracy - other.accuracy)
    assert comparison.accuracy.interval.over == comparison.tar["1e-1"].interval.over == "identities"
    assert comparison.line().startswith("set, difference: accuracy +")
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_other_pairs_are_refused():
    first, second, same = two_models()
    report = report_scores("set", first, same, resamples=0)
    flipped = dataclasses.replace(report, same=~same)
    with pytest.raises(FacedistillError, match="not the same pairs"):
        compare_reports(report, flipped)
    with pytest.raises(FacedistillError, match="on the same pairs"):
        compare_tar(first, second[1:], same, 0.1)
    with pytest.raises(FacedistillError, match="not measurable"):
        compare_tar(first, second, same, 1e-6)
