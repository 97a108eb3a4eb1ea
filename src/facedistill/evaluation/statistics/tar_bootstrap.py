"""Bootstrap intervals of true accept rates over millions of pairs, without weighing them all.

Over pairs: drawing N impostor pairs of N with replacement, sorted by score, is drawing N uniform
numbers: the threshold that lets k of them through is set by the (k + 1)-th smallest, which follows
a Beta distribution. The genuine pairs above a threshold are then binomial. So a resample costs two
random numbers instead of N, and the distribution is exactly that of resampling pairs, genuine and
impostor apart, with the threshold found anew in each resample.

Over identities: a pair of i and j weighs m_i m_j (see `bootstrap`). Only the genuine pairs and
the impostor pairs near the top decide a rate at a low false accept rate; the total weight of all
impostor pairs comes from a table of how many pairs each two identities have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from facedistill.core.estimate import Interval
from facedistill.evaluation.metrics.roc import RocCurve, far_name
from facedistill.evaluation.statistics.bootstrap import multiplicities, percentile_interval

_IMPOSTORS_KEPT = 10_000
_CELLS_AT_ONCE = 8_000_000  # weights held in memory at a time, 32 MB


def tar_intervals(
    curve: RocCurve, fars: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Return the 95 % intervals of the best true accept rates at false accept rates.

    Pairs are resampled as if independent; where identities recur, intervals are too narrow.

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


def tar_intervals_over_identities(
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray,
    fars: Sequence[float],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the 95 % intervals of the best true accept rates, resampling identities.

    Of a false accept rate that lets k > 20,000 impostor pairs through, every (k / 10,000)-th in
    order of score stands for its neighbours.

    Args:
        scores: (P,) similarities.
        same: (P,) bool.
        identities: (P, 2) integers 0..S-1, each pair's two identities, equal in genuine pairs.
        fars: False accept rates; those that are not measurable are left out.
        resamples: How many resamples; 0 for no intervals.
        seed: Seed of the random numbers.

    Returns:
        Intervals by `far_name`.

    Raises:
        FacedistillError: If a rate is undefined in more than a tenth of the resamples.
    """
    impostors = np.flatnonzero(~same)
    measurable = [far for far in fars if resamples and 1 / len(impostors) <= far]
    if not measurable:
        return {}
    impostors = impostors[np.argsort(scores[impostors])[::-1]]
    genuine = np.flatnonzero(same)
    genuine = genuine[np.argsort(scores[genuine])[::-1]]
    count = int(identities.max()) + 1
    met = _pairs_of_identities(identities[impostors], count)
    looks = _looks(len(impostors), measurable)
    rng = np.random.default_rng(seed)
    widest = max(len(genuine), *(len(places) for places, _, _ in looks))
    step = max(1, _CELLS_AT_ONCE // widest)
    tars: dict[str, list[np.ndarray]] = {far_name(far): [] for far in measurable}
    for start in range(0, resamples, step):
        drawn = multiplicities(rng, min(step, resamples - start), count)
        total = ((met @ drawn.T).T * drawn).sum(axis=1)
        drawn = drawn.astype(np.float32)  # whole numbers, exact
        accepted = np.cumsum(drawn.take(identities[genuine, 0], axis=1), axis=1)
        accepted = np.concatenate([np.zeros((len(drawn), 1), np.float32), accepted], axis=1)
        for places, share, some in looks:
            top = impostors[places]
            weights = drawn.take(identities[top, 0], axis=1)
            weights *= drawn.take(identities[top, 1], axis=1)
            weights *= share
            np.cumsum(weights, axis=1, out=weights)
            rest = -np.inf if share.sum() == len(impostors) else scores[top[-1]]
            ladder = np.append(scores[top], rest)
            for far in some:
                lowest = ladder[_first_beyond(weights, far * total)]
                above = np.searchsorted(-scores[genuine], -lowest, side="left")
                tars[far_name(far)].append(_shares(accepted, above, total))
    units = identities[genuine]
    return {
        name: percentile_interval(np.concatenate(values), units, len(scores))
        for name, values in tars.items()
    }


def _shares(accepted: np.ndarray, above: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return each resample's accepted share, NaN in one without genuine or impostor pairs."""
    with np.errstate(invalid="ignore"):
        shares = accepted[np.arange(len(accepted)), above].astype(np.float64) / accepted[:, -1]
    shares[total == 0] = np.nan
    return shares


def _pairs_of_identities(identities: np.ndarray, count: int) -> np.ndarray | sparse.csr_array:
    """Return how many impostor pairs each two identities have, (S, S)."""
    low, high = identities.min(axis=1), identities.max(axis=1)
    keys, pairs = np.unique(low.astype(np.int64) * count + high, return_counts=True)
    table = sparse.csr_array(
        (pairs.astype(np.float64), np.divmod(keys, count)), shape=(count, count)
    )
    return table.toarray() if len(keys) > count**2 / 50 else table


def _looks(count: int, fars: Sequence[float]) -> list[tuple[np.ndarray, np.ndarray, list[float]]]:
    """Return which impostors are looked at for which rates.

    Twice as many as a rate lets through: in no resample to speak of is the threshold below that.

    Returns:
        The impostors' ranks, how many each stands for, and the rates, for each stride.
    """
    strides: dict[int, list[float]] = {}
    for far in fars:
        strides.setdefault(max(1, int(far * count) // _IMPOSTORS_KEPT), []).append(far)
    looks = []
    for stride, some in strides.items():
        reached = min(count, 2 * int(max(some) * count) + 100)
        edges = np.append(np.arange(0, reached, stride), reached)
        sizes = np.diff(edges)
        looks.append((edges[:-1] + sizes // 2, sizes.astype(np.float32), some))
    return looks


def _first_beyond(cumulative: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return the first place where each row exceeds its allowance, or the row's length."""
    # Weights are whole numbers; an allowance that is one up to rounding is met.
    limits = np.floor(allowed * (1 + 1e-12)).astype(cumulative.dtype)
    return np.array(
        [
            np.searchsorted(row, limit, "right")
            for row, limit in zip(cumulative, limits, strict=True)
        ]
    )
