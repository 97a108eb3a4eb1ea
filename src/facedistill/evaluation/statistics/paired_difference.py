"""Two models on the same pairs: is one better, or was it luck?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.roc import far_name, roc_curve, tar_at_far
from facedistill.evaluation.metrics.similarity import check_scores
from facedistill.evaluation.statistics.bootstrap import (
    PairedComparison,
    bootstrap_weights,
    compare_paired,
    mcnemar_exact,
    percentile_interval,
)
from facedistill.evaluation.statistics.roc_bootstrap import cumulative_share

if TYPE_CHECKING:
    from facedistill.evaluation.protocols.pair_report import PairReport


@dataclass(frozen=True)
class ReportComparison:
    """The first model's figures less the second's.

    Attributes:
        name: The set of pairs.
        accuracy: By the headline protocol.
        tar: True accept rates by `far_name`, of the rates measurable for both.
    """

    name: str
    accuracy: PairedComparison
    tar: dict[str, PairedComparison]

    def line(self) -> str:
        """Return the differences as one line of text."""
        parts = [f"accuracy {_text(self.accuracy)}"]
        parts += [f"TAR@{far} {_text(comparison)}" for far, comparison in self.tar.items()]
        return f"{self.name}, difference: " + ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the differences as plain values for JSON."""
        return asdict(self)


def compare_reports(
    first: PairReport, second: PairReport, *, resamples: int = 1000, seed: int = 0
) -> ReportComparison:
    """Compare two models' reports on the same pairs.

    Args:
        first: The model in question.
        second: What it is compared with.
        resamples: Bootstrap resamples of the intervals.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If the reports are not of the same pairs and protocol.
    """
    if first.protocol != second.protocol or not np.array_equal(first.same, second.same):
        raise FacedistillError(
            f"{first.name} and {second.name} are not the same pairs by the same protocol"
        )
    fars = [
        one.target
        for one, other in zip(first.points, second.points, strict=True)
        if one.tar is not None and other.tar is not None
    ]
    return ReportComparison(
        name=first.name,
        accuracy=compare_paired(
            first.result.correct,
            second.result.correct,
            first.same,
            first.identities,
            resamples=resamples,
            seed=seed,
        ),
        tar={
            far_name(far): compare_tar(
                first.scores,
                second.scores,
                first.same,
                far,
                first.identities,
                resamples=resamples,
                seed=seed,
            )
            for far in fars
        },
    )


def compare_tar(
    first: np.ndarray,
    second: np.ndarray,
    same: np.ndarray,
    far: float,
    identities: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedComparison:
    """Compare two models by their true accept rates at one false accept rate.

    Each model has its own threshold, found anew in every resample; resamples are the same for
    both. McNemar's test is on the genuine pairs at the thresholds found on all pairs.

    Args:
        first: (P,) scores of the first model.
        second: (P,) scores of the second on the same pairs.
        same: (P,) bool.
        far: The false accept rate.
        identities: (P, 2), or None to resample pairs.
        resamples: How many resamples the interval takes.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If scores do not fit each other, or the rate is not measurable.
    """
    if np.shape(first) != np.shape(second):
        raise FacedistillError(
            f"scores have shapes {np.shape(first)} and {np.shape(second)}: "
            "compare two models on the same pairs"
        )
    accepted, tars = [], []
    for scores in (first, second):
        scores, same = check_scores(scores, same)
        point = tar_at_far(roc_curve(scores, same), far)
        if point.threshold is None or point.tar is None:
            raise FacedistillError(f"no true accept rates to compare: {point.reason}")
        accepted.append((scores >= point.threshold)[same])
        tars.append(point.tar)
    differences = [
        _best_tars(weights, first, same, far) - _best_tars(weights, second, same, far)
        for weights in bootstrap_weights(same, identities, resamples=resamples, seed=seed)
    ]
    return PairedComparison(
        difference=tars[0] - tars[1],
        interval=percentile_interval(np.concatenate(differences), identities, len(same)),
        p_value=mcnemar_exact(*accepted),
        only_first=int((accepted[0] & ~accepted[1]).sum()),
        only_second=int((accepted[1] & ~accepted[0]).sum()),
        pairs=len(accepted[0]),
    )


def _best_tars(weights: np.ndarray, scores: np.ndarray, same: np.ndarray, far: float) -> np.ndarray:
    """Return the best true accept rate that keeps the false accept rate, for each resample."""
    order = np.argsort(-np.asarray(scores))
    ordered, genuine, weights = scores[order], same[order], weights[:, order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    fars = cumulative_share(weights * ~genuine, last)
    tars = cumulative_share(weights * genuine, last)
    best = np.where(fars <= far, tars, 0.0).max(axis=1)
    best[np.isnan(fars[:, -1]) | np.isnan(tars[:, -1])] = np.nan
    return best


def _text(comparison: PairedComparison) -> str:
    difference = comparison.estimate.text(2, scale=100, signed=True)
    return f"{difference} percentage points (McNemar p {comparison.p_text})"
