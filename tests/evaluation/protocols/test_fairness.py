import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.protocols.fairness import fairness, gini


def gini_by_hand(rates):
    n, mean = len(rates), sum(rates) / len(rates)
    total = sum(abs(x - y) for x, y in itertools.product(rates, repeat=2))
    return n / (n - 1) * total / (2 * n**2 * mean)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda rates: sum(rates) > 1e-3))
def test_gini_is_the_published_sum(rates):
    assert gini(np.array(rates)) == pytest.approx(gini_by_hand(rates), abs=1e-9)


def test_gini_ends():
    np.testing.assert_allclose(gini(np.array([[0.2, 0.2, 0.2], [0, 0, 0.3]])), [0, 1], atol=1e-15)
    assert np.isnan(gini(np.zeros(3)))


def scored_groups(seed=0, sizes=(40, 40, 40), harder=(0.0, 0.15, 0.3)):
    """Pairs of identities in three groups, of which the later are harder to verify."""
    rng = np.random.default_rng(seed)
    group_of = np.repeat(np.arange(len(sizes)), sizes)
    genuine = np.repeat(np.arange(len(group_of)), 5)
    left = rng.integers(len(group_of), size=6000)
    right = rng.integers(len(group_of), size=6000)
    keep = left != right
    identities = np.concatenate(
        [np.stack([genuine, genuine], 1), np.stack([left[keep], right[keep]], 1)]
    )
    same = identities[:, 0] == identities[:, 1]
    groups = group_of[identities]
    hard = np.array(harder)[groups].mean(axis=1)
    scores = rng.normal(np.where(same, 0.5 - hard / 2, 0.1 + hard / 2), 0.15)
    return scores, same, groups, identities


def test_rates_are_the_groups_shares_at_one_threshold():
    scores, same, groups, identities = scored_groups()
    report = fairness(
        scores, same, groups, "abc", far=0.05, identities=identities, min_impostors=60
    )
    for code, rates in enumerate(report.groups):
        inside = (groups == code).all(axis=1)
        refused = scores[inside & same] < report.threshold
        accepted = scores[inside & ~same] >= report.threshold
        assert rates.group == "abc"[code]
        assert (rates.genuine, rates.impostors) == (len(refused), len(accepted))
        assert rates.fnmr.value == refused.mean()
        assert rates.fmr.value == accepted.mean()
        assert rates.false_matches == accepted.sum()
        assert rates.fnmr.interval.low <= rates.fnmr.value <= rates.fnmr.interval.high
        assert rates.fnmr.interval.over == "identities" or refused.mean() in (0, 1)
    assert (scores >= report.threshold)[~same].mean() <= 0.05
    assert report.mixed == (groups[:, 0] != groups[:, 1]).sum()
    fmr = [rates.fmr.value for rates in report.groups]
    assert (report.fmr.worst, report.fmr.best) == ("c", "a")
    assert report.fmr.worst_to_best.value == pytest.approx(max(fmr) / min(fmr))
    assert report.fmr.worst_to_geometric_mean.value == pytest.approx(
        max(fmr) / np.prod(fmr) ** (1 / 3)
    )
    assert report.fmr.gini.value == pytest.approx(gini_by_hand(fmr))
    assert report.garbe.value == pytest.approx((report.fmr.gini.value + report.fnmr.gini.value) / 2)
    assert report.fmr.worst_to_best.interval.low <= report.fmr.worst_to_best.value
    assert "FMR of c is" in report.line()
    json.dumps(report.to_dict(), allow_nan=False)


def test_small_groups_are_shown_but_not_compared():
    scores, same, groups, identities = scored_groups(sizes=(60, 60, 3), harder=(0, 0.1, 0.4))
    report = fairness(scores, same, groups, "abc", far=0.05, identities=identities)
    assert report.groups[2].left_out == "15 genuine pairs, fewer than 100"
    assert report.groups[2].fnmr.value > 0
    assert {report.fmr.worst, report.fmr.best} == {"a", "b"}
    assert "left out c: 15 genuine pairs" in report.line()
    few = fairness(scores, same, groups, "abc", far=1e-3, min_genuine=1, resamples=0)
    assert all(
        "impostor pairs within the group, fewer than 3,000" in g.left_out for g in few.groups
    )
    assert few.fmr.reason == "fewer than two groups have enough pairs"
    assert few.garbe is None


def test_groups_without_errors_have_an_interval_but_no_ratio():
    same = np.arange(800) % 2 == 0
    groups = np.repeat(np.stack([np.arange(400) % 4 // 2] * 2, 1), 2, axis=0)
    scores = np.where(same, 0.9, 0.1) + 0.0
    scores[1] = 0.95
    report = fairness(scores, same, groups, "ab", threshold=0.5, min_impostors=100)
    assert report.target is None
    a, b = report.groups
    assert (a.false_matches, b.false_matches) == (1, 0)
    assert b.fmr.interval.low == 0
    assert b.fmr.interval.high == pytest.approx(1 - 0.025 ** (1 / 200))
    assert report.fmr.worst_to_best is None
    assert "b has no error" in report.fmr.reason
    assert report.fmr.gini.value == pytest.approx(1)
    assert report.fnmr.reason == "no group has an error"
    assert report.garbe is None
    json.dumps(report.to_dict(), allow_nan=False)


def test_even_groups_have_ratios_near_one():
    scores, same, groups, identities = scored_groups(harder=(0.1, 0.1, 0.1))
    report = fairness(scores, same, groups, "abc", far=0.05, identities=identities, min_impostors=9)
    assert report.fmr.gini.interval.low < 0.15
    assert report.fnmr.worst_to_best.interval.low < 1.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": np.zeros((4, 2))}, "two integers per pair"),
        ({"groups": np.zeros((3, 2), int)}, "two integers per pair"),
        ({"groups": np.full((4, 2), 2)}, r"must be -1\.\.1"),
        ({"groups": np.zeros((4, 2), int)}, "fewer than two groups"),
        ({"far": 1e-6}, "no threshold .* not measurable"),
        ({"scores": np.array([np.nan, 1, 1, 1])}, "score of pair 0"),
        ({"same": np.ones(4, bool)}, "of two identities"),
    ],
)
def test_unusable_groups_are_refused(change, message):
    arguments = {
        "scores": np.array([0.1, 0.9, 0.2, 0.8]),
        "same": np.array([False, True, False, True]),
        "groups": np.array([[0, 0], [0, 0], [1, 1], [1, 1]]),
        "names": ["a", "b"],
        "far": 0.5,
        **change,
    }
    with pytest.raises(FacedistillError, match=message):
        fairness(**arguments)
