import itertools

import numpy as np
import pytest

from facedistill.export.bench.latency import Latency, median_interval


@pytest.mark.parametrize("turns", range(1, 14))
def test_the_interval_is_the_narrowest_that_holds_the_median_often_enough(turns):
    interval = median_interval(np.arange(turns, 0, -1.0))
    # A value is below the true median or above it, each with probability one half.
    below = [sum(sides) for sides in itertools.product((0, 1), repeat=turns)]

    def holds(k):
        return np.mean([k <= count <= turns - k for count in below])

    if interval is None:
        assert holds(1) < 0.95
        return
    k = int(interval.low)
    assert (interval.low, interval.high) == (k, turns + 1 - k)
    assert (interval.over, interval.units) == ("turns", turns)
    assert holds(k) >= 0.95
    assert holds(k + 1) < 0.95


def test_a_latency_is_its_median_and_what_most_calls_did_not_exceed():
    seconds = np.full((10, 10), 0.002)
    seconds[3, :6] = 0.5  # ten turns: six slow calls of a hundred
    latency = Latency(seconds)
    assert latency.milliseconds.value == 2
    assert (latency.milliseconds.interval.low, latency.milliseconds.interval.high) == (2, 2)
    assert latency.p95_milliseconds == 500
    seconds[3, 1:6] = 0.002
    assert Latency(seconds).p95_milliseconds == 2
    assert Latency(seconds[:2]).milliseconds.interval is None


def test_a_slow_moment_of_the_machine_cancels_in_the_ratio():
    rng = np.random.default_rng(0)
    moment = np.where(np.arange(10) < 5, 1.0, 7.0)[:, None]
    noise = [1 + 0.01 * rng.random((10, 20)) for _ in range(2)]
    slow, fast = Latency(0.004 * moment * noise[0]), Latency(0.001 * moment * noise[1])
    ratio = slow.ratio(fast)
    assert ratio.value == pytest.approx(4, rel=0.02)
    assert ratio.interval.low == pytest.approx(4, rel=0.02)
    assert ratio.interval.high == pytest.approx(4, rel=0.02)
    # Medians over all calls would be those of two kinds of moments.
    assert slow.milliseconds.interval.high > 5 * slow.milliseconds.interval.low
