import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.evaluation.roc import RocCurve, far_name, roc_curve, tar_at_far
from facedistill.evaluation.statistics import bootstrap_weights
from facedistill.evaluation.tar_bootstrap import tar_intervals


def resampled_by_hand(scores, same, far, resamples, seed):
    """Weigh every pair, and try every threshold."""
    order = np.argsort(-scores)
    scores, same = scores[order], same[order]
    last = np.append(scores[1:] != scores[:-1], True)
    tars = []
    for weights in bootstrap_weights(same, resamples=resamples, seed=seed):
        fars = np.cumsum(weights * ~same, axis=1)[:, last] / (~same).sum()
        accepted = np.cumsum(weights * same, axis=1)[:, last] / same.sum()
        tars.append(np.where(fars <= far, accepted, 0).max(axis=1))
    return np.concatenate(tars)


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize("far", [0.005, 0.05, 0.5])
def test_distribution_is_that_of_resampling_pairs(decimals, far):
    rng = np.random.default_rng(7)
    same = np.arange(1200) % 3 == 0
    scores = rng.normal(np.where(same, 1.5, 0), 1).round(decimals)
    expected = resampled_by_hand(scores, same, far, 4000, seed=1)
    interval = tar_intervals(roc_curve(scores, same), [far], resamples=20000, seed=2)[far_name(far)]
    low, high = np.quantile(expected, [0.025, 0.975])
    # Quantiles of 4,000 resamples err by about a twentieth of the interval's width.
    assert interval.low == pytest.approx(low, abs=0.2 * (high - low) + 1e-9)
    assert interval.high == pytest.approx(high, abs=0.2 * (high - low) + 1e-9)


@given(st.integers(0, 2**32), st.integers(0, 2))
def test_thinned_curve_gives_the_same(seed, decimals):
    rng = np.random.default_rng(seed)
    scores, same = rng.normal(size=60).round(decimals), np.arange(60) % 4 == 0
    curve = roc_curve(scores, same)
    fars = [0.03, 0.2, 1.0]
    assert tar_intervals(curve, fars, resamples=50) == tar_intervals(
        curve.thinned(), fars, resamples=50
    )
    assert all(tar_at_far(curve, far) == tar_at_far(curve.thinned(), far) for far in fars)


def test_unmeasurable_rates_have_no_interval():
    curve = RocCurve(np.array([2.0, 1, 0]), np.array([0, 0, 10]), np.array([0, 5, 5]))
    assert list(tar_intervals(curve, [0.01, 0.1])) == ["1e-1"]
    assert tar_intervals(curve, [0.1], resamples=0) == {}
