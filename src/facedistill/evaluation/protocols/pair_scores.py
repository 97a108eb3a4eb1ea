"""Verification measured on cosine scores that are already there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from facedistill.core.estimate import Estimate
from facedistill.evaluation.image_pairs import resampleable
from facedistill.evaluation.metrics.kfold import (
    KFoldRule,
    check_kfold_rule,
    most_folds,
    verification,
)
from facedistill.evaluation.metrics.roc import (
    FARS,
    area_under_curve,
    decision_thresholds,
    equal_error_rate,
    roc_curve,
    tar_at_far,
)
from facedistill.evaluation.metrics.similarity import check_scores
from facedistill.evaluation.perturbations.masked import Masked
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.statistics.roc_bootstrap import roc_intervals


def report_scores(
    name: str,
    scores: np.ndarray,
    same: np.ndarray,
    *,
    protocol: KFoldRule = "insightface",
    folds: int | np.ndarray = 10,
    identities: np.ndarray | None = None,
    fars: Sequence[float] = FARS,
    flip: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    masked: Masked | None = None,
) -> PairReport:
    """Measure verification on cosine scores that are already there.

    Args:
        name: What to call the pairs.
        scores: (P,) cosines.
        same: (P,) bool.
        protocol: Headline protocol.
        folds: Their number, fewer where pairs are, or each pair's fold.
        identities: (P, 2) identities of each pair, or None.
        fars: False accept rates at which to report.
        flip: What to note about the embeddings.
        resamples: Bootstrap resamples; 0 for no intervals.
        seed: Seed of the bootstrap.
        masked: What to note about face masks.
    """
    check_kfold_rule(protocol)
    scores, same = check_scores(scores, same)
    if isinstance(folds, int):
        folds = most_folds(folds, len(same), name)
    identities = resampleable(identities, same)
    results = {
        each: verification(
            scores, same, each, folds, identities=identities, resamples=resamples, seed=seed
        )
        for each in get_args(KFoldRule)
    }
    curve = roc_curve(scores, same)
    points = [tar_at_far(curve, far) for far in fars]
    measurable = [point.target for point in points if point.tar is not None]
    intervals = roc_intervals(scores, same, identities, measurable, resamples, seed)
    return PairReport(
        name=name,
        genuine=curve.genuine,
        impostors=curve.impostors,
        protocol=protocol,
        verification=results,
        auc=Estimate(area_under_curve(curve), intervals.get("auc")),
        eer=Estimate(equal_error_rate(curve), intervals.get("eer")),
        points=points,
        tar_intervals={k: v for k, v in intervals.items() if k not in ("auc", "eer")},
        cosine_thresholds=decision_thresholds(scores, same, fars),
        scores=scores,
        same=same,
        flip=flip,
        masked=masked,
        identities=identities,
    )
