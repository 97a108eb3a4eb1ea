"""The section of a verification protocol with folds: LFW and its like."""

from __future__ import annotations

import numpy as np

from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.metrics.exhaustive import ScoredPair
from facedistill.evaluation.metrics.roc import roc_curve
from facedistill.evaluation.metrics.score_histogram import count_scores
from facedistill.evaluation.perturbations.masked import MaskedPairs
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.protocol_versions import RULES
from facedistill.report.sections.face_gallery import NO_IMAGES, PAIRS_SHOWN, face_gallery
from facedistill.report.sections.rate_parts import (
    curve_drawings,
    interval_units,
    mask_rules,
    operating_points,
    percent,
    score_drawing,
    spread,
    tar_tiles,
)
from facedistill.report.sections.section import Section, Table, Tile
from facedistill.report.table import Column


def pair_section(report: PairReport, pairset: PairSet | None, mask_seed: int) -> Section:
    """Return the section of a report of pairs; without `pairset` it shows no images."""
    curve = roc_curve(report.scores, report.same)
    result = report.result
    threshold = float(np.median(result.cosine_thresholds))
    made = Section(
        title=report.title,
        line=report.line(),
        rules=[RULES[report.protocol], RULES["tar_at_far"], *mask_rules(report.masked)],
        data=None if pairset is None else pairset.faces.fingerprint,
        tiles=[
            Tile("accuracy", percent(report.accuracy), spread(result.interval)),
            *tar_tiles(report.points, report.tar_intervals),
            Tile("equal error rate", percent(report.eer.value), spread(report.eer.interval)),
            Tile(
                "area under ROC",
                f"{report.auc.value:.4f}",
                spread(report.auc.interval, 4, scale=1),
            ),
        ],
        tables=[_accuracies(report), operating_points(report.points, report.tar_intervals)],
        drawings=[
            *curve_drawings({report.name: curve}, report.points, report.tar_intervals),
            score_drawing(count_scores(report.scores, report.same), report.points),
        ],
        remarks=[
            f"{report.genuine:,} genuine and {report.impostors:,} impostor pairs, "
            f"{len(result.fold_accuracy)} folds; embeddings "
            f"{'f(x) + f(mirrored x)' if report.flip else 'of the images as they are'}."
        ],
        curves={report.name: curve},
    )
    if report.masked is not None:
        made.remarks.append(f"Masks are drawn by seed {mask_seed}.")
    if pairset is None:
        made.remarks.append(NO_IMAGES)
        return made
    shown = pairset if report.masked is None else MaskedPairs(pairset, report.masked, mask_seed)
    decided = f"cosine {threshold:.4f}, the median of the folds'"
    for same, pairs in ((False, _hardest(report, False)), (True, _hardest(report, True))):
        scored = [
            ScoredPair(
                int(shown.pairs[pair, 0]), int(shown.pairs[pair, 1]), report.scores.item(pair)
            )
            for pair in pairs.tolist()
        ]
        names = [(pairset.image_names[a], pairset.image_names[b]) for a, b in pairset.pairs[pairs]]
        wrong = int(((report.scores[report.same == same] >= threshold) != same).sum())
        image = shown.image
        made.galleries.append(
            face_gallery(same, scored, names, threshold, decided, wrong, image, image)
        )
    return made


def _hardest(report: PairReport, same: bool) -> np.ndarray:
    """Return the pairs of one kind that a threshold gets wrong soonest."""
    own = np.flatnonzero(report.same == same)
    order = np.argsort(report.scores[own] if same else -report.scores[own], kind="stable")
    return own[order[:PAIRS_SHOWN]]


def _accuracies(report: PairReport) -> Table:
    rows = [
        {
            "protocol": name,
            "accuracy": result.estimate,
            "std": result.std,
            "threshold": float(np.median(result.cosine_thresholds)),
            "over": interval_units(result.interval),
        }
        for name, result in report.verification.items()
    ]
    columns = [
        Column("protocol"),
        Column("accuracy", digits=2, percent=True),
        Column("std", "std of folds", digits=2, percent=True),
        Column("threshold", "median threshold (cosine)"),
        Column("over", "interval over"),
    ]
    return Table("K-fold accuracy", columns, rows, f"The headline is by {report.protocol}.")
