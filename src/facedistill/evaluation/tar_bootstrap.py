"""Bootstrap intervals of true accept rates over millions of pairs, without resampling them.

Drawing N impostor pairs of N with replacement, sorted by score, is drawing N uniform numbers: the
threshold that lets k of them through is set by the (k + 1)-th smallest, which follows a Beta
distribution. The genuine pairs above a threshold are then binomial. So a resample costs two random
numbers instead of N, and the distribution is exactly that of resampling pairs, genuine and
impostor apart, with the threshold found anew in each resample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facedistill.evaluation.roc import RocCurve, far_name
from facedistill.evaluation.statistics import Interval, percentile_interval


def tar_intervals(
    curve: RocCurve, fars: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Return the 95 % intervals of the best true accept rates at false accept rates.

    Pairs are resampled as if independent; where people recur, intervals are too narrow.

    Args:
        curve: A ROC curve; a thinned one gives the same intervals.
        fars: False accept rates; those that are not measurable are left out.
        resamples: How many resamples; 0 for no intervals.
        seed: Seed of the random numbers.

    Returns:
        Intervals by `far_name`.
    """
    rng = np.random.default_rng(seed)
    measurable = [far for far in fars if resamples and 1 / curve.impostors <= far]
    return {
        far_name(far): percentile_interval(
            _resampled_tars(curve, far, resamples, rng), None, curve.genuine + curve.impostors
        )
        for far in measurable
    }


def _resampled_tars(
    curve: RocCurve, far: float, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the best true accept rate at a false accept rate in each resample."""
    allowed = int(
        np.searchsorted(np.arange(1, curve.impostors + 1) / curve.impostors, far, "right")
    )
    through = np.full(resamples, curve.impostors)
    if allowed < curve.impostors:
        first_refused = rng.beta(allowed + 1, curve.impostors - allowed, size=resamples)
        through = np.ceil(first_refused * curve.impostors).astype(np.int64) - 1
    # Impostors before the first refused one are let through, except those that tie with it.
    place = np.searchsorted(curve.false_accepts, through, side="right") - 1
    share = curve.true_accepts[place] / curve.genuine
    return rng.binomial(curve.genuine, share) / curve.genuine
