import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Interval
from facedistill.evaluation.statistics import bootstrap as statistics
from facedistill.evaluation.statistics.bootstrap import (
    PairedComparison,
    bootstrap_clusters,
    bootstrap_mean,
    bootstrap_weights,
    compare_paired,
    mcnemar_exact,
    mean_interval,
    percentile_interval,
)


def test_mean_interval_is_student_t():
    estimate = mean_interval([0.90, 0.92, 0.97])
    expected = stats.ttest_1samp([0.90, 0.92, 0.97], 0).confidence_interval(0.95)
    assert estimate.value == pytest.approx(0.93)
    assert estimate.interval.low == pytest.approx(expected.low)
    assert estimate.interval.high == pytest.approx(expected.high)
    assert (estimate.interval.over, estimate.interval.units) == ("seeds", 3)


def test_single_seed_has_no_interval():
    assert mean_interval([0.5]).interval is None


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [0.5, float("inf")]])
def test_no_mean_of_nothing_or_of_nan(values):
    with pytest.raises(FacedistillError):
        mean_interval(values)


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_sums_the_binomial(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True, False])
    second = np.array([False] * only_first + [True] * only_second + [True, False])
    trials = only_first + only_second
    few = min(only_first, only_second)
    tail = sum(math.comb(trials, k) for k in range(few + 1)) / 2**trials
    assert mcnemar_exact(first, second) == pytest.approx(min(1.0, 2 * tail))


def test_pair_weights_keep_the_number_of_each_kind():
    same = np.array([True] * 3 + [False] * 7)
    weights = np.concatenate(list(bootstrap_weights(same, resamples=50)))
    assert weights.shape == (50, 10)
    assert (weights[:, same].sum(axis=1) == 3).all()
    assert (weights[:, ~same].sum(axis=1) == 7).all()
    assert weights.std() > 0


def test_identity_weights_are_products_of_multiplicities():
    # The genuine pairs show the multiplicities of identities 10, 20, 30, the others their products.
    identities = np.array([[10, 10], [20, 20], [30, 30], [10, 20], [30, 20], [30, 10]])
    same = np.array([True] * 3 + [False] * 3)
    weights = np.concatenate(list(bootstrap_weights(same, identities, resamples=40)))
    ten, twenty, thirty = weights[:, :3].T
    assert (ten + twenty + thirty == 3).all()
    np.testing.assert_array_equal(weights[:, 3:].T, [ten * twenty, thirty * twenty, thirty * ten])
    assert weights.std() > 0


@pytest.mark.parametrize("identities", [None, np.arange(24).reshape(12, 2)])
def test_weights_are_bounded_in_memory_and_seeded(monkeypatch, identities):
    same = np.arange(12) % 2 == 0
    monkeypatch.setattr(statistics, "_CELLS_AT_ONCE", 40)
    chunks = list(bootstrap_weights(same, identities, resamples=10, seed=4))
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 1]
    again = list(bootstrap_weights(same, identities, resamples=10, seed=4))
    np.testing.assert_array_equal(np.concatenate(chunks), np.concatenate(again))


def test_bootstrap_of_independent_pairs_gives_the_normal_interval():
    values = np.arange(2000) % 10 != 0
    interval = bootstrap_mean(values, np.ones(2000, bool), resamples=2000)
    half = 1.96 * math.sqrt(0.9 * 0.1 / 2000)
    assert interval.low == pytest.approx(0.9 - half, abs=0.25 * half)
    assert interval.high == pytest.approx(0.9 + half, abs=0.25 * half)
    assert (interval.over, interval.units) == ("pairs", 2000)


def test_identities_widen_the_interval_where_one_identity_has_the_mistakes():
    # 50 identities with 20 genuine pairs each; a tenth of them are always mistaken.
    labels = np.repeat(np.arange(50), 20)
    correct = labels % 10 != 0
    same = np.ones(1000, bool)
    over_pairs = bootstrap_mean(correct, same, resamples=1000)
    over_identities = bootstrap_mean(correct, same, np.stack([labels, labels], 1), resamples=1000)
    width = [over.high - over.low for over in (over_pairs, over_identities)]
    assert width[1] / width[0] == pytest.approx(math.sqrt(20), rel=0.25)
    assert (over_identities.over, over_identities.units) == ("identities", 50)


def test_undefined_resamples_are_left_out_until_they_are_many():
    values = np.concatenate([np.linspace(0, 1, 95), np.full(5, np.nan)])
    interval = percentile_interval(values, None, 7)
    assert interval.low == pytest.approx(0.025)
    values[:20] = np.nan
    with pytest.raises(FacedistillError, match="25% of the bootstrap resamples"):
        percentile_interval(values, None, 7)


def test_paired_comparison_counts_disagreements():
    rng = np.random.default_rng(0)
    second = rng.random(500) < 0.8
    first = second.copy()
    first[np.flatnonzero(~second)[:20]] = True
    first[np.flatnonzero(second)[:2]] = False
    comparison = compare_paired(first, second, np.arange(500) % 2 == 0)
    assert (comparison.only_first, comparison.only_second) == (20, 2)
    assert comparison.difference == pytest.approx(18 / 500)
    assert comparison.interval.low > 0
    assert comparison.interval.low < comparison.difference < comparison.interval.high
    assert comparison.p_value == pytest.approx(stats.binomtest(2, 22).pvalue)
    assert comparison.pairs == 500


def test_paired_interval_is_narrower_than_unpaired_ones():
    rng = np.random.default_rng(1)
    second = rng.random(1000) < 0.7
    first = second.copy()
    first[np.flatnonzero(~second)[:15]] = True
    same = np.arange(1000) % 2 == 0
    paired = compare_paired(first, second, same).interval
    alone = bootstrap_mean(first, same)
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_equal_models_do_not_differ():
    right = np.arange(20) % 3 == 0
    comparison = compare_paired(right, right, np.arange(20) % 2 == 0)
    assert comparison.p_value == 1
    assert (comparison.interval.low, comparison.interval.high) == (0, 0)


@pytest.mark.parametrize(
    ("identities", "resamples", "message"),
    [(np.zeros((3, 2), int), 5, "give two per pair"), (None, 0, "at least 1")],
)
def test_unusable_resampling_is_refused(identities, resamples, message):
    with pytest.raises(FacedistillError, match=message):
        list(bootstrap_weights(np.ones(4, bool), identities, resamples=resamples))


def test_models_on_different_pairs_are_not_compared():
    with pytest.raises(FacedistillError, match="same pairs"):
        mcnemar_exact(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(FacedistillError, match="labels of 4"):
        compare_paired(np.ones(3, bool), np.ones(3, bool), np.ones(4, bool))


def test_clusters_are_resampled_whole():
    # Ten clusters of 1, 2, ... values, all the same within one: a resample is the weighted mean.
    sizes = np.arange(1, 11)
    clusters = np.repeat(np.arange(10) * 7, sizes)
    values = clusters % 3 == 0
    interval = bootstrap_clusters(values, clusters, resamples=4000, seed=1)
    rng = np.random.default_rng(8)
    drawn = rng.integers(10, size=(4000, 10))
    right = (drawn * 7) % 3 == 0
    means = (right * sizes[drawn]).sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert interval.low == pytest.approx(low, abs=0.05)
    assert interval.high == pytest.approx(high, abs=0.05)
    assert (interval.over, interval.units) == ("identities", 10)
    assert interval == bootstrap_clusters(values, clusters, resamples=4000, seed=1)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "< 0.001"), (9e-4, "< 0.001"), (0.0421, "= 0.042"), (1.0, "= 1")]
)
def test_a_p_value_is_never_written_as_nothing(value, text):
    compared = PairedComparison(0.1, Interval(0.0, 0.2, "pairs", 9), value, 1, 0, 9)
    assert compared.p_text == text
