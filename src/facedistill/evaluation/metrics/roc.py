"""The ROC of a verifier: true accept rate against false accept rate, ties handled exactly.

A pair is accepted when its score is at least the threshold, so the only thresholds that matter are
the observed scores and one above them all. Pairs with equal scores are accepted together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.similarity import check_scores

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
"""The false accept rates reported unless others are asked for."""


@dataclass(frozen=True)
class RocCurve:
    """The corners of a ROC curve, from accepting nothing to accepting all.

    Attributes:
        thresholds: (T,) falling; the first is just above the highest score.
        false_accepts: int64 (T,), impostor pairs accepted at each threshold.
        true_accepts: int64 (T,), genuine pairs accepted.
    """

    thresholds: np.ndarray
    false_accepts: np.ndarray
    true_accepts: np.ndarray

    @property
    def impostors(self) -> int:
        """Number of impostor pairs."""
        return int(self.false_accepts[-1])

    @property
    def genuine(self) -> int:
        """Number of genuine pairs."""
        return int(self.true_accepts[-1])

    @property
    def far(self) -> np.ndarray:
        """float64 (T,), false accept rate at each threshold."""
        return self.false_accepts / self.impostors

    @property
    def tar(self) -> np.ndarray:
        """float64 (T,), true accept rate at each threshold."""
        return self.true_accepts / self.genuine

    def thinned(self) -> RocCurve:
        """Return the curve without the corners between which only impostors are accepted.

        It is the same line: area, equal error rate and the best true accept rate at any false
        accept rate stay as they are, while millions of corners become two per genuine score.
        """
        rises = self.true_accepts[1:] != self.true_accepts[:-1]
        keep = np.concatenate([[True], rises]) | np.concatenate([rises, [True]])
        return RocCurve(self.thresholds[keep], self.false_accepts[keep], self.true_accepts[keep])


@dataclass(frozen=True)
class OperatingPoint:
    """What a verifier does at a stated false accept rate.

    Attributes:
        target: The false accept rate asked for.
        impostors: Number of impostor pairs it was measured on.
        far: The actual rate, at most the target; None if not measurable.
        tar: True accept rate; None if not measurable.
        threshold: Accept when the score is at least this; None if not measurable.
        reason: Why it is not measurable, else None.
    """

    target: float
    impostors: int
    far: float | None = None
    tar: float | None = None
    threshold: float | None = None
    reason: str | None = None


def roc_curve(scores: np.ndarray, same: np.ndarray) -> RocCurve:
    """Return the ROC curve of similarity scores.

    One sort; memory is about 50 bytes a pair, so 15 million pairs take less than a gigabyte.

    Args:
        scores: (P,) floats, higher means more alike.
        same: (P,) bool.

    Raises:
        FacedistillError: If scores are not finite or one kind of pair is missing.
    """
    scores, same = check_scores(scores, same)
    order = np.argsort(scores)[::-1]
    ordered, genuine = scores[order], same[order]
    del order
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    true_accepts = np.cumsum(genuine, dtype=np.int64)[last]
    false_accepts = last + 1 - true_accepts
    above = np.nextafter(ordered[0], np.array(np.inf, dtype=ordered.dtype))
    return RocCurve(
        thresholds=np.concatenate([[above], ordered[last]]).astype(scores.dtype),
        false_accepts=np.concatenate([[0], false_accepts]),
        true_accepts=np.concatenate([[0], true_accepts]),
    )


def area_under_curve(curve: RocCurve) -> float:
    """Return the probability that a genuine pair scores above an impostor pair; ties count half.

    This is the trapezoidal area under the curve and the Mann-Whitney statistic, computed in
    integers.
    """
    impostor_steps = np.diff(curve.false_accepts)
    twice = int((impostor_steps * (curve.true_accepts[1:] + curve.true_accepts[:-1])).sum())
    return twice / (2 * curve.impostors * curve.genuine)


def equal_error_rate(curve: RocCurve) -> float:
    """Return the rate at which false accepts equal false rejects.

    Between neighbouring corners of the curve both rates are taken as straight lines, and the
    result is where the lines cross.
    """
    return float(equal_error_rates(curve.far[None], curve.tar[None])[0])


def equal_error_rates(far: np.ndarray, tar: np.ndarray) -> np.ndarray:
    """Return the equal error rate of each of several curves.

    Args:
        far: (R, T), rising from 0 to 1.
        tar: (R, T), rising from 0 to 1.

    Returns:
        float64 (R,), NaN for a curve with NaNs.
    """
    excess = far + tar - 1.0  # false accept less false reject rate: -1 at the first corner, then 1
    after = np.argmax(excess >= 0, axis=1)
    rows = np.arange(len(excess))
    low, high = excess[rows, after - 1], excess[rows, after]
    share = -low / (high - low)
    start, end = far[rows, after - 1], far[rows, after]
    return np.where(np.isnan(excess[:, -1]), np.nan, start + share * (end - start))


def tar_at_far(curve: RocCurve, target: float) -> OperatingPoint:
    """Return the best true accept rate whose false accept rate does not exceed the target.

    Of the thresholds that reach it the highest is taken, so the actual rate is as low as it can
    be. A target below one impostor pair in all cannot be measured, and the answer says so.

    Args:
        curve: A ROC curve.
        target: False accept rate, above 0 and at most 1.

    Raises:
        FacedistillError: If the target is no such rate.
    """
    _check_target(target)
    if 1 / curve.impostors > target:
        needed = math.ceil(round(1 / target, 6))
        return OperatingPoint(
            target,
            curve.impostors,
            reason=f"not measurable: FAR {far_name(target)} needs {needed:,} impostor pairs, "
            f"there are {curve.impostors:,}",
        )
    # Quotients round correctly, so 3 of 3,000 is the same number as 0.001 and does not exceed it.
    furthest = int(np.searchsorted(curve.far, target, side="right")) - 1
    place = int(np.searchsorted(curve.true_accepts, curve.true_accepts[furthest], side="left"))
    return _point(curve, target, place)


def _point(curve: RocCurve, target: float, place: int) -> OperatingPoint:
    return OperatingPoint(
        target,
        curve.impostors,
        far=int(curve.false_accepts[place]) / curve.impostors,
        tar=int(curve.true_accepts[place]) / curve.genuine,
        threshold=float(curve.thresholds[place]),
    )


def _check_target(target: float) -> None:
    if not 0 < target <= 1:
        raise FacedistillError(f"a false accept rate of {target} is not above 0 and at most 1")


def tar_at_nearest_far(curve: RocCurve, target: float) -> OperatingPoint:
    """Return the true accept rate where the false accept rate is nearest to the target.

    This is what InsightFace's eval_ijbc and ijb_evals print: of the corners that scikit-learn's
    `roc_curve` keeps (it drops those on a straight line), the one nearest in false accept rate; of
    equally near ones that with more accepted. The rate may exceed the target, or be far from it,
    and there is a number even where nothing can be measured: use it to compare with such tables,
    and `tar_at_far` otherwise.

    Args:
        curve: A whole ROC curve, not a thinned one.
        target: False accept rate, above 0 and at most 1.
    """
    _check_target(target)
    corner = np.ones(len(curve.thresholds), np.bool_)
    corner[2:-1] = (np.diff(curve.false_accepts[1:], 2) != 0) | (
        np.diff(curve.true_accepts[1:], 2) != 0
    )
    places = np.flatnonzero(corner)[::-1]
    place = int(places[np.argmin(np.abs(curve.far[places] - target))])
    return _point(curve, target, place)


def decision_thresholds(
    scores: np.ndarray, same: np.ndarray, fars: Sequence[float] = FARS
) -> dict[str, float]:
    """Return the cosine thresholds that keep false accept rates, for a model file.

    Args:
        scores: (P,) cosines.
        same: (P,) bool.
        fars: The rates to keep.

    Returns:
        {"1e-3": 0.31, ...}: accept when the cosine is at least the threshold. Rates below one
        impostor pair in all are left out.
    """
    curve = roc_curve(scores, same)
    points = [tar_at_far(curve, far) for far in fars]
    return {far_name(p.target): p.threshold for p in points if p.threshold is not None}


def far_name(far: float) -> str:
    """Return a false accept rate as it is usually written, e.g. `1e-4` or `2.5e-3`."""
    mantissa, exponent = f"{far:.15e}".split("e")
    digits = f"{float(mantissa):g}"
    return f"{digits}e{int(exponent)}"
