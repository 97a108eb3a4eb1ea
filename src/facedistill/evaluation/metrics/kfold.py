"""K-fold verification accuracy, the figure reported on LFW, CFP-FP, AgeDB-30, CALFW and CPLFW.

Two embeddings are declared the same identity when they are close enough. The threshold for one fold
is the best one on all other folds (Huang et al., Labeled Faces in the Wild, 2007). What "best" may
choose from is the protocol, and results of different protocols must not be compared.

Distances here are squared Euclidean distances of L2-normalised embeddings, d = 2 - 2 cos, so
`d < t` is the same as `cos > 1 - t / 2`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.metrics.similarity import check_scores, squared_distances
from facedistill.evaluation.statistics.bootstrap import bootstrap_mean

KFoldRule = Literal["insightface", "exact"]
"""How thresholds are chosen: see `verification`."""

GRID = np.arange(0, 4, 0.01)
"""The 400 candidate thresholds of the `insightface` protocol, squared distances."""


@dataclass(frozen=True)
class VerificationResult:
    """What K-fold verification found.

    Attributes:
        accuracy: Mean over the folds of the share of right decisions, 0..1.
        std: Standard deviation of the folds' accuracies with ddof 0, as InsightFace prints it.
        fold_accuracy: float64 (K,).
        thresholds: float64 (K,), each fold's threshold as a squared distance in [0, 4].
        correct: bool (P,), whether each pair was decided rightly when its fold was held out; two
            models' are compared by `statistics.compare_paired`.
        protocol: `insightface` or `exact`.
        interval: 95 % bootstrap interval of the accuracy, None if no resamples were asked for.
    """

    accuracy: float
    std: float
    fold_accuracy: np.ndarray
    thresholds: np.ndarray
    correct: np.ndarray
    protocol: KFoldRule
    interval: Interval | None = None

    @property
    def estimate(self) -> Estimate:
        """The accuracy with its interval."""
        return Estimate(self.accuracy, self.interval)

    @property
    def pairs(self) -> int:
        """Number of pairs decided."""
        return len(self.correct)

    @property
    def cosine_thresholds(self) -> np.ndarray:
        """The folds' thresholds as cosines, 1 - d / 2."""
        return 1.0 - self.thresholds / 2.0


def check_kfold_rule(name: str) -> KFoldRule:
    """Return the rule of that name.

    Raises:
        FacedistillError: If there is none.
    """
    for rule in get_args(KFoldRule):
        if name == rule:
            return rule
    raise FacedistillError(f"unknown protocol {name!r}: take {' or '.join(get_args(KFoldRule))}")


def contiguous_folds(pairs: int, folds: int = 10) -> np.ndarray:
    """Return each pair's fold when a file is cut into contiguous parts, not shuffled.

    Where the count does not divide, the first folds have one pair more, as in scikit-learn's KFold.

    Args:
        pairs: Number of pairs, at least `folds`.
        folds: Number of folds, at least 2.

    Returns:
        int64 (P,), non-decreasing, 0..folds-1.

    Raises:
        FacedistillError: If there are fewer than two folds, or fewer pairs than folds.
    """
    if folds < 2:
        raise FacedistillError(f"{folds} folds: verification needs at least 2")
    if pairs < folds:
        raise FacedistillError(f"{pairs} pairs cannot fill {folds} folds")
    short, longer = divmod(pairs, folds)
    return np.repeat(np.arange(folds), np.where(np.arange(folds) < longer, short + 1, short))


def most_folds(folds: int, pairs: int, name: str) -> int:
    """Return the number of folds that pairs can fill, with a warning where these are fewer.

    Args:
        folds: How many were asked for.
        pairs: Number of pairs.
        name: What to call them.
    """
    if pairs >= folds:
        return folds
    warnings.warn(
        f"{name}: {pairs} pairs do not fill {folds} folds: each is a fold of its own, and an "
        "accuracy over so few says little",
        stacklevel=3,
    )
    return pairs


def verification(
    scores: np.ndarray,
    same: np.ndarray,
    protocol: KFoldRule = "insightface",
    folds: int | np.ndarray = 10,
    *,
    identities: np.ndarray | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> VerificationResult:
    """Return the K-fold verification accuracy of cosine scores.

    Protocol `insightface`: candidate thresholds are the squared distances 0, 0.01, ... 3.99; a
    pair is called the same when its distance is below the threshold; of equally good thresholds
    the smallest is taken. Protocol `exact`: candidates are the distances observed in the other
    folds and one below all of them; a pair is called the same when its distance is at most the
    threshold; of equally good ones the smallest is taken.

    Args:
        scores: (P,) cosines, see `similarity.pair_similarities`.
        same: (P,) bool.
        protocol: `insightface` or `exact`.
        folds: Their number, for contiguous folds, or each pair's fold (P,), 0..K-1.
        identities: (P, 2) the two identities of each pair, for the interval; None resamples pairs.
        resamples: How many bootstrap resamples the interval takes; 0 for no interval. The folds'
            thresholds stay as they were found.
        seed: Seed of the bootstrap.

    Returns:
        The accuracy and what it was made of.

    Raises:
        FacedistillError: If scores, labels or folds are unusable, or the protocol is unknown.
    """
    check_kfold_rule(protocol)
    scores, same = check_scores(scores, same)
    _check_cosines(scores)
    fold = _fold_index(folds, len(scores))
    decide = _decide_on_grid if protocol == "insightface" else _decide_on_observed
    correct, thresholds = decide(squared_distances(scores), same, fold)
    fold_accuracy = np.bincount(fold, weights=correct) / np.bincount(fold)
    interval = None
    if resamples:
        interval = bootstrap_mean(
            correct, strata=same, identities=identities, resamples=resamples, seed=seed
        )
    return VerificationResult(
        accuracy=float(fold_accuracy.mean()),
        std=float(fold_accuracy.std()),
        fold_accuracy=fold_accuracy,
        thresholds=thresholds,
        correct=correct,
        protocol=protocol,
        interval=interval,
    )


def _check_cosines(scores: np.ndarray) -> None:
    outside = np.flatnonzero(np.abs(scores) > 1 + 1e-5)
    if len(outside):
        raise FacedistillError(
            f"score of pair {outside[0]} is {scores[outside[0]]:g}, not a cosine: "
            "K-fold verification needs scores in [-1, 1]"
        )


def _fold_index(folds: int | np.ndarray, pairs: int) -> np.ndarray:
    if isinstance(folds, int | np.integer):
        return contiguous_folds(pairs, int(folds))
    fold = np.asarray(folds)
    if fold.shape != (pairs,) or not np.issubdtype(fold.dtype, np.integer):
        raise FacedistillError(
            f"folds are {fold.dtype} {fold.shape}: give a number, or one integer per pair ({pairs})"
        )
    if fold.min() < 0 or fold.max() >= pairs:
        raise FacedistillError(f"folds must be 0..K-1, found {fold.min()}..{fold.max()}")
    sizes = np.bincount(fold)
    if len(sizes) < 2 or not sizes.all():
        raise FacedistillError(
            f"fold {int(np.argmin(sizes)) if len(sizes) > 1 else 1} has no pairs: "
            "number the folds 0..K-1 without holes, at least two"
        )
    return fold


def _decide_on_grid(
    distances: np.ndarray, same: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decide every pair by its fold's threshold on `GRID`; one histogram serves all folds."""
    # first[i] is the first threshold above distance i: it and all later ones call the pair same.
    first = np.searchsorted(GRID, distances, side="right")
    bins = len(GRID) + 1
    gain = np.where(same, 1, -1)
    folds = int(fold.max()) + 1
    steps = np.bincount(fold * bins + first, weights=gain, minlength=folds * bins)
    right = np.cumsum(steps.reshape(folds, bins)[:, :-1], axis=1)  # less the fold's impostors
    best = np.argmax(right.sum(axis=0) - right, axis=1)
    return (first <= best[fold]) == same, GRID[best]


def _decide_on_observed(
    distances: np.ndarray, same: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decide every pair by its fold's best threshold among the others' distances."""
    order = np.argsort(distances)
    ordered, gain, place = distances[order], np.where(same[order], 1, -1), fold[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    thresholds = np.empty(int(fold.max()) + 1)
    for held_out in range(len(thresholds)):
        right = np.cumsum(np.where(place == held_out, 0, gain))[last]
        # A threshold seen only in the held-out fold changes nothing here, so it is never the first.
        best = int(np.argmax(right))
        none = np.nextafter(ordered[0], -np.inf)
        thresholds[held_out] = ordered[last[best]] if right[best] > 0 else none
    return (distances <= thresholds[fold]) == same, thresholds
