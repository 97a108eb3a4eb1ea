"""How sure a figure is: bootstrap intervals, intervals over seeds, and paired comparison.

Pairs of faces are not independent: an identity that is hard to recognise spoils all its pairs.
Where identities are known they are what is resampled. In each resample every identity is drawn
with replacement and gets a multiplicity m; a genuine pair of identity i weighs m_i, an impostor
pair of i and j weighs m_i m_j (the vertex bootstrap: Snijders and Borgatti, "Non-parametric
standard errors and tests for network statistics", 1999; for face verification Fogliato, Patil and
Perona, "Confidence intervals for error rates in 1:1 matching tasks", 2024). Without identities the
pairs themselves are resampled, genuine and impostor pairs apart, since a protocol fixes the number
of each; such intervals are too narrow where identities recur. Intervals are percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import LEVEL, Estimate, Interval

_CELLS_AT_ONCE = 4_000_000  # weights held in memory at a time: resamples x pairs, 32 MB


def mean_interval(values: Sequence[float] | np.ndarray) -> Estimate:
    """Return the mean over seeds and its Student-t interval (n - 1 degrees of freedom).

    Args:
        values: One figure per seed. A single one has a mean but no interval.

    Raises:
        FacedistillError: If there is no value, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise FacedistillError("no figures to average: give one per seed")
    if not np.isfinite(array).all():
        raise FacedistillError(f"figure of run {int(np.argmin(np.isfinite(array)))} is not finite")
    mean = float(array.mean())
    if len(array) == 1:
        return Estimate(mean, None)
    error = array.std(ddof=1) / np.sqrt(len(array))
    from scipy import special  # its `stats` takes half a second more to import

    half = special.stdtrit(len(array) - 1, (1 + LEVEL) / 2) * error
    return Estimate(mean, Interval(float(mean - half), float(mean + half), "seeds", len(array)))


def bootstrap_weights(
    same: np.ndarray,
    identities: np.ndarray | None = None,
    *,
    resamples: int,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """Give the weights of all pairs in every resample, in chunks of bounded size.

    Args:
        same: (P,) bool: the strata within which pairs are resampled. With `identities` it is
            only asked for its length.
        identities: (P, 2) integers, the two identities of each pair; None resamples pairs.
        resamples: How many resamples in all.
        seed: Seed of the random numbers.

    Yields:
        float64 (R, P) with a few resamples R at a time: how often each pair occurs in them.

    Raises:
        FacedistillError: If there are no resamples, or identities do not fit the pairs.
    """
    if resamples < 1:
        raise FacedistillError(f"{resamples} resamples: a bootstrap needs at least 1")
    pairs = len(same)
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS_AT_ONCE // max(pairs, 1))
    identities = _renumbered(identities, pairs)
    strata = [np.flatnonzero(same == kind) for kind in np.unique(same)]
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        if identities is not None:
            drawn = multiplicities(rng, count, int(identities.max()) + 1)
            weights = drawn[:, identities[:, 0]]
            different = identities[:, 0] != identities[:, 1]
            weights[:, different] *= drawn[:, identities[different, 1]]
        else:
            weights = np.empty((count, pairs))
            for members in strata:
                weights[:, members] = multiplicities(rng, count, len(members))
        yield weights


def bootstrap_mean(
    values: np.ndarray,
    strata: np.ndarray,
    identities: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of the mean of one value per pair.

    Args:
        values: (P,) floats or bools, say whether each pair was decided rightly.
        strata: (P,) bool, genuine or impostor; see `bootstrap_weights`.
        identities: (P, 2), or None to resample pairs.
        resamples: How many resamples.
        seed: Seed of the random numbers.
    """
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        means = [
            weights @ values / weights.sum(axis=1)
            for weights in bootstrap_weights(strata, identities, resamples=resamples, seed=seed)
        ]
    return percentile_interval(np.concatenate(means), identities, len(values))


def bootstrap_clusters(
    values: np.ndarray, clusters: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return the bootstrap interval of a mean whose values come in clusters.

    Clusters (the identities of probes) are drawn with replacement, each with all its values.

    Args:
        values: (N,) floats or bools.
        clusters: (N,), which cluster each value belongs to.
        resamples: How many resamples.
        seed: Seed of the random numbers.
    """
    kinds, cluster = np.unique(clusters, return_inverse=True)
    sums = np.bincount(cluster, weights=np.asarray(values, dtype=np.float64))
    sizes = np.bincount(cluster).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = []
    step = max(1, _CELLS_AT_ONCE // len(kinds))
    for start in range(0, resamples, step):
        drawn = multiplicities(rng, min(step, resamples - start), len(kinds))
        means.append(drawn @ sums / (drawn @ sizes))
    return percentile_interval(np.concatenate(means), clusters, len(values))


def percentile_interval(
    resampled: np.ndarray, identities: np.ndarray | None, pairs: int
) -> Interval:
    """Return the 2.5th and 97.5th percentile of a resampled figure.

    Args:
        resampled: (R,) the figure in each resample, NaN where the resample had no such pairs.
        identities: What was resampled, as given to `bootstrap_weights`.
        pairs: Number of pairs.

    Raises:
        FacedistillError: If the figure was undefined in more than a tenth of the resamples.
    """
    undefined = float(np.isnan(resampled).mean())
    if undefined > 0.1:
        raise FacedistillError(
            f"{undefined:.0%} of the bootstrap resamples lack genuine or impostor pairs: too few "
            "identities, resample pairs instead"
        )
    low, high = np.nanquantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if identities is None:
        return Interval(float(low), float(high), "pairs", pairs)
    return Interval(float(low), float(high), "identities", len(np.unique(identities)))


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same pairs.

    Attributes:
        difference: Accuracy of the first less that of the second.
        interval: 95 % paired bootstrap interval of the difference.
        p_value: Exact two-sided McNemar test of no difference, on pairs as if independent.
        only_first: Pairs that only the first decided rightly.
        only_second: Pairs that only the second decided rightly.
        pairs: Pairs compared.
    """

    difference: float
    interval: Interval
    p_value: float
    only_first: int
    only_second: int
    pairs: int

    @property
    def estimate(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(self.difference, self.interval)

    @property
    def p_text(self) -> str:
        """The p-value as text: `= 0.042`, or `< 0.001`."""
        return "< 0.001" if self.p_value < 0.001 else f"= {self.p_value:.2g}"


def mcnemar_exact(first: np.ndarray, second: np.ndarray) -> float:
    """Return the exact two-sided McNemar p-value of two models' right decisions on the same pairs.

    Only pairs on which they differ count; without a difference each is a fair coin
    (McNemar, 1947), so this is a binomial test.

    Args:
        first: (P,) bool, where the first model was right.
        second: (P,) bool, the same for the second.
    """
    only_first, only_second = _discordant(first, second)
    discordant = only_first + only_second
    if not discordant:
        return 1.0
    from scipy import special  # its `stats` takes half a second more to import

    tail = special.bdtr(min(only_first, only_second), discordant, 0.5)
    return min(1.0, 2 * float(tail))


def compare_paired(
    first: np.ndarray,
    second: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedComparison:
    """Compare two models by their right decisions on the same pairs.

    Args:
        first: (P,) bool, `VerificationResult.correct` of the first model.
        second: (P,) bool, the same for the second.
        same: (P,) bool, genuine or impostor.
        identities: (P, 2), or None to resample pairs.
        resamples: How many resamples the interval takes.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If the arrays do not have one entry per pair.
    """
    only_first, only_second = _discordant(first, second)
    if len(first) != len(same):
        raise FacedistillError(f"decisions on {len(first)} pairs, but labels of {len(same)}")
    gains = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return PairedComparison(
        difference=float(gains.mean()),
        interval=bootstrap_mean(gains, same, identities, resamples=resamples, seed=seed),
        p_value=mcnemar_exact(first, second),
        only_first=only_first,
        only_second=only_second,
        pairs=len(gains),
    )


def _discordant(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise FacedistillError(
            f"decisions have shapes {first.shape} and {second.shape}: "
            "compare two models on the same pairs"
        )
    first, second = first.astype(np.bool_), second.astype(np.bool_)
    return int(np.count_nonzero(first & ~second)), int(np.count_nonzero(second & ~first))


def _renumbered(identities: np.ndarray | None, pairs: int) -> np.ndarray | None:
    if identities is None:
        return None
    identities = np.asarray(identities)
    if identities.shape != (pairs, 2):
        raise FacedistillError(
            f"identities have shape {identities.shape}: give two per pair, ({pairs}, 2)"
        )
    return np.unique(identities, return_inverse=True)[1].reshape(pairs, 2)


def multiplicities(rng: np.random.Generator, resamples: int, units: int) -> np.ndarray:
    """Draw `units` of `units` with replacement, `resamples` times, and count each.

    Returns:
        float64 (R, U).
    """
    drawn = rng.integers(units, size=(resamples, units))
    drawn += np.arange(resamples)[:, None] * units
    counts = np.bincount(drawn.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(np.float64)
