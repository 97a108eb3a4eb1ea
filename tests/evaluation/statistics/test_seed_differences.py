import numpy as np
import pytest
from scipy import stats

from facedistill.evaluation.statistics.seed_differences import least_difference, seed_difference


def test_the_interval_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6))
    found = seed_difference(dict(enumerate(first)), dict(enumerate(second)) | {9: 5.0})
    expected = stats.ttest_rel(first, second).confidence_interval()
    assert found.estimate.value == pytest.approx((first - second).mean())
    interval = found.estimate.interval
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert (interval.over, interval.units) == ("seeds", 6)
    assert found.least == pytest.approx(least_difference((first - second).std(ddof=1), 6))


@pytest.mark.parametrize("seeds", [2, 3, 9])
def test_the_least_difference_is_found_four_times_of_five(seeds):
    shift = least_difference(1.0, seeds)
    # The noncentral t distribution, whose parameter is the shift in standard errors.
    critical = stats.t.ppf(0.975, seeds - 1)
    power = stats.nct.sf(critical, seeds - 1, shift * np.sqrt(seeds))
    assert power == pytest.approx(0.8, abs=1e-6)


def test_seeds_and_their_spread_make_it_smaller_and_larger():
    assert least_difference(0.9, 9) == pytest.approx(0.9 * 1.06, rel=0.01)
    assert least_difference(0.5, 3) > least_difference(0.5, 4)


def test_one_seed_tells_no_interval_and_none_in_common_nothing():
    alone = seed_difference({3: 0.5}, {3: 0.25})
    assert (alone.estimate.value, alone.estimate.interval, alone.least) == (0.25, None, None)
    assert seed_difference({0: 1.0}, {1: 1.0}) is None
    assert seed_difference({0: float("nan"), 1: 1.0}, {0: 1.0, 1: 1.0}) is None
