import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.evaluation.metrics.roc import RocCurve, far_name, roc_curve, tar_at_far
from facedistill.evaluation.statistics import tar_bootstrap
from facedistill.evaluation.statistics.bootstrap import bootstrap_weights
from facedistill.evaluation.statistics.tar_bootstrap import (
    tar_intervals,
    tar_intervals_over_identities,
)


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


def scored_pairs(seed=3, count=60, pairs=4000, decimals=3):
    rng = np.random.default_rng(seed)
    identities = np.concatenate(
        [np.repeat(np.arange(count), 8)[:, None] * [1, 1], rng.integers(count, size=(pairs, 2))]
    )
    same = identities[:, 0] == identities[:, 1]
    easy = rng.normal(size=count) * 0.5
    scores = rng.normal(np.where(same, 1.8 + easy[identities[:, 0]], 0), 1).round(decimals)
    return scores, same, identities


@pytest.mark.parametrize("decimals", [1, 3])
def test_resampled_identities_give_what_weighing_every_pair_gives(decimals):
    scores, same, identities = scored_pairs(decimals=decimals)
    fars = [0.002, 0.05, 0.3]
    found = tar_intervals_over_identities(scores, same, identities, fars, resamples=300, seed=5)
    order = np.argsort(-scores)
    last = np.append(np.diff(scores[order]) != 0, True)
    for far in fars:
        tars = []
        # The same seed draws the same identities.
        for weights in bootstrap_weights(same, identities, resamples=300, seed=5):
            weights = weights[:, order]
            impostor, genuine = weights * ~same[order], weights * same[order]
            rates = np.cumsum(impostor, axis=1)[:, last] / impostor.sum(axis=1, keepdims=True)
            shares = np.cumsum(genuine, axis=1)[:, last] / genuine.sum(axis=1, keepdims=True)
            tars.append(np.where(rates <= far, shares, 0).max(axis=1))
        low, high = np.quantile(np.concatenate(tars), [0.025, 0.975])
        interval = found[far_name(far)]
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)
        assert (interval.over, interval.units) == ("identities", 60)


def test_impostors_that_stand_for_others_change_intervals_little(monkeypatch):
    scores, same, identities = scored_pairs(pairs=40_000)
    whole = tar_intervals_over_identities(scores, same, identities, [0.2], resamples=400)["2e-1"]
    monkeypatch.setattr(tar_bootstrap, "_IMPOSTORS_KEPT", 1500)
    some = tar_intervals_over_identities(scores, same, identities, [0.2], resamples=400)["2e-1"]
    width = whole.high - whole.low
    assert (some.low, some.high) == pytest.approx((whole.low, whole.high), abs=0.15 * width)


def test_identities_give_wider_intervals_than_pairs_where_they_recur():
    scores, same, identities = scored_pairs()
    over_identities = tar_intervals_over_identities(scores, same, identities, [0.05])["5e-2"]
    over_pairs = tar_intervals(roc_curve(scores, same), [0.05])["5e-2"]
    assert over_identities.high - over_identities.low > over_pairs.high - over_pairs.low
    assert tar_intervals_over_identities(scores, same, identities, [1e-6]) == {}
    assert tar_intervals_over_identities(scores, same, identities, [0.1], resamples=0) == {}
