"""Bootstrap intervals of a ROC curve's figures on some thousand pairs.

Every resample weighs all pairs, so that area, equal error rate and true accept rates of one
resample belong to one curve; see `tar_bootstrap` for millions of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facedistill.core.estimate import Interval
from facedistill.evaluation.metrics.roc import equal_error_rates, far_name
from facedistill.evaluation.statistics.bootstrap import bootstrap_weights, percentile_interval


def roc_intervals(
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray | None,
    fars: Sequence[float],
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    """Return bootstrap intervals of AUC, EER and the true accept rates."""
    if not resamples:
        return {}
    order = np.argsort(-scores)
    scores, same = scores[order], same[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    figures: dict[str, list[np.ndarray]] = {}
    ordered = None if identities is None else identities[order]
    for weights in bootstrap_weights(same, ordered, resamples=resamples, seed=seed):
        far = cumulative_share(weights * ~same, last)
        tar = cumulative_share(weights * same, last)
        figures.setdefault("auc", []).append(_areas(far, tar))
        figures.setdefault("eer", []).append(equal_error_rates(far, tar))
        for target in fars:
            reached = np.where(far <= target, tar, 0.0).max(axis=1)
            reached[np.isnan(far[:, -1]) | np.isnan(tar[:, -1])] = np.nan
            figures.setdefault(far_name(target), []).append(reached)
    return {
        name: percentile_interval(np.concatenate(values), identities, len(scores))
        for name, values in figures.items()
    }


def _areas(far: np.ndarray, tar: np.ndarray) -> np.ndarray:
    return (np.diff(far, axis=1) * (tar[:, 1:] + tar[:, :-1])).sum(axis=1) / 2


def cumulative_share(weights: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the share of the weight accepted at each threshold, from none to all.

    Args:
        weights: (R, P), pairs in order of falling score.
        last: (T,) the last pair that each threshold accepts.

    Returns:
        float64 (R, T + 1), NaN in rows without weight.
    """
    accepted = np.cumsum(weights, axis=1)[:, last]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = accepted / accepted[:, -1:]
    return np.concatenate([np.zeros((len(shares), 1)), shares], axis=1)
