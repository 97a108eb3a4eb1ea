import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.roc import (
    area_under_curve,
    decision_thresholds,
    equal_error_rate,
    far_name,
    roc_curve,
    tar_at_far,
    tar_at_nearest_far,
)


@st.composite
def scored_pairs(draw):
    count = draw(st.integers(2, 40))
    values = st.integers(0, draw(st.sampled_from([2, 8, 1000])))
    scores = draw(st.lists(values, min_size=count, max_size=count))
    same = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    same[0], same[-1] = True, False
    return np.array(scores) / 1000, np.array(same)


def rates(scores, same, threshold):
    accepted = scores >= threshold
    return accepted[~same].mean(), accepted[same].mean()


@given(scored_pairs())
def test_curve_counts_what_each_threshold_accepts(case):
    scores, same = case
    curve = roc_curve(scores, same)
    assert curve.thresholds[1:].tolist() == sorted(set(scores.tolist()), reverse=True)
    assert curve.thresholds[0] > scores.max()
    for threshold, far, tar in zip(curve.thresholds, curve.far, curve.tar, strict=True):
        assert (far, tar) == rates(scores, same, threshold)
    assert (curve.impostors, curve.genuine) == ((~same).sum(), same.sum())


@given(scored_pairs(), st.sampled_from([1.0, 0.5, 0.25, 0.1, 1 / 3, 0.05]))
def test_tar_is_the_best_among_thresholds_that_keep_the_far(case, target):
    scores, same = case
    point = tar_at_far(roc_curve(scores, same), target)
    if 1 / (~same).sum() > target:
        assert point.tar is point.far is point.threshold is None
        assert "not measurable" in point.reason
        return
    candidates = [*scores.tolist(), np.inf]
    allowed = [rates(scores, same, t) for t in candidates if rates(scores, same, t)[0] <= target]
    assert point.tar == max(tar for _, tar in allowed)
    assert point.far == min(far for far, tar in allowed if tar == point.tar)
    assert (point.far, point.tar) == rates(scores, same, point.threshold)
    assert point.reason is None


@given(scored_pairs())
def test_area_is_the_share_of_ordered_pairs(case):
    scores, same = case
    genuine, impostor = scores[same][:, None], scores[~same][None]
    expected = ((genuine > impostor) + 0.5 * (genuine == impostor)).mean()
    area = area_under_curve(roc_curve(scores, same))
    assert area == pytest.approx(expected, abs=1e-12)
    assert area == pytest.approx(roc_auc_score(same, scores), abs=1e-12)


def fraction_on_polyline(curve, level):
    """Follow far - frr along the piecewise linear curve by bisection on its length."""
    far, frr = curve.far, 1 - curve.tar
    low, high = 0.0, len(far) - 1.0
    for _ in range(100):
        middle = (low + high) / 2
        index = np.arange(len(far))
        if np.interp(middle, index, far - frr) >= level:
            high = middle
        else:
            low = middle
    return np.interp(high, index, far)


@given(scored_pairs())
def test_equal_error_rate_is_where_both_errors_cross(case):
    curve = roc_curve(*case)
    assert equal_error_rate(curve) == pytest.approx(fraction_on_polyline(curve, 0.0), abs=1e-9)


def test_equal_error_rate_of_known_cases():
    same = np.array([True] * 4 + [False] * 4)
    assert equal_error_rate(roc_curve(np.array([8, 7, 6, 5, 4, 3, 2, 1.0]), same)) == 0
    assert equal_error_rate(roc_curve(np.array([1, 2, 3, 4, 5, 6, 7, 8.0]), same)) == 1
    assert equal_error_rate(roc_curve(np.array([8, 7, 6, 3, 5, 4, 2, 1.0]), same)) == 0.25
    assert equal_error_rate(roc_curve(np.ones(8), same)) == 0.5


@settings(max_examples=30)
@given(scored_pairs())
def test_swapping_kinds_and_sign_keeps_area_and_equal_error_rate(case):
    scores, same = case
    curve, mirrored = roc_curve(scores, same), roc_curve(-scores, ~same)
    assert area_under_curve(curve) == pytest.approx(area_under_curve(mirrored), abs=1e-12)
    assert equal_error_rate(curve) == pytest.approx(equal_error_rate(mirrored), abs=1e-9)


@pytest.mark.parametrize("impostors", [1000, 3000, 7000, 30000, 49000])
@pytest.mark.parametrize("target", [1e-1, 1e-2, 1e-3])
def test_rate_equal_to_the_target_does_not_exceed_it(impostors, target):
    scores = np.concatenate([np.arange(impostors), [-1]]).astype(float)
    same = np.arange(impostors + 1) == impostors
    # The only genuine pair scores lowest, so put another just below the allowed impostors.
    allowed = impostors // round(1 / target)
    scores[-1] = impostors - allowed - 0.5
    point = tar_at_far(roc_curve(scores, same), target)
    assert point.tar == 1
    assert point.far == pytest.approx(target)


def test_a_rate_below_one_impostor_is_not_measurable():
    rng = np.random.default_rng(0)
    curve = roc_curve(rng.random(1100), np.arange(1100) < 100)
    assert tar_at_far(curve, 1e-3).tar is not None
    point = tar_at_far(curve, 1e-4)
    assert point.tar is None
    assert point.reason == "not measurable: FAR 1e-4 needs 10,000 impostor pairs, there are 1,000"
    assert point.impostors == 1000


def test_thresholds_keep_their_rate_on_the_cosine_scale():
    rng = np.random.default_rng(1)
    same = np.arange(2200) < 200
    scores = np.where(same, 0.6, 0.1) + rng.normal(0, 0.1, 2200)
    thresholds = decision_thresholds(scores, same, (1e-2, 1e-3, 1e-4))
    assert list(thresholds) == ["1e-2", "1e-3"]
    for name, threshold in thresholds.items():
        assert (scores[~same] >= threshold).mean() <= float(name)
    assert thresholds["1e-2"] < thresholds["1e-3"]


def test_single_precision_is_kept_and_threshold_is_above_all():
    curve = roc_curve(np.array([0.5, 0.25], np.float32), np.array([True, False]))
    assert curve.thresholds.dtype == np.float32
    assert curve.thresholds[0] > np.float32(0.5)


@pytest.mark.parametrize("target", [0, -0.1, 1.01, float("nan")])
def test_impossible_target_is_refused(target):
    curve = roc_curve(np.array([0.5, 0.25]), np.array([True, False]))
    with pytest.raises(FacedistillError, match="false accept rate"):
        tar_at_far(curve, target)


@pytest.mark.parametrize(
    ("far", "name"), [(1e-3, "1e-3"), (0.1, "1e-1"), (2.5e-4, "2.5e-4"), (1.0, "1e0")]
)
def test_rates_are_named_as_they_are_written(far, name):
    assert far_name(far) == name
    assert float(name) == far


@given(scored_pairs(), st.sampled_from([1.0, 0.5, 0.3, 0.1, 0.01, 1e-6]))
def test_nearest_rate_is_what_eval_ijbc_prints(case, target):
    scores, same = case
    far, tar, _ = sklearn_roc_curve(same, scores)
    far, tar = np.flipud(far), np.flipud(tar)
    _, place = min(zip(abs(far - target), range(len(far)), strict=True))
    curve = roc_curve(scores, same)
    point = tar_at_nearest_far(curve, target)
    assert point.tar == pytest.approx(tar[place], abs=1e-12)
    assert point.far == pytest.approx(far[place], abs=1e-12)
    assert area_under_curve(curve) == pytest.approx(auc(far, tar), abs=1e-12)


@given(scored_pairs(), st.sampled_from([1.0, 0.5, 0.25, 0.1, 1 / 3, 0.05]))
def test_thinned_curve_is_the_same_line(case, target):
    scores, same = case
    curve = roc_curve(scores, same)
    thin = curve.thinned()
    assert len(thin.far) <= 2 * len(np.unique(scores[same])) + 2
    assert tar_at_far(thin, target) == tar_at_far(curve, target)
    assert area_under_curve(thin) == area_under_curve(curve)
    assert equal_error_rate(thin) == pytest.approx(equal_error_rate(curve), abs=1e-12)
