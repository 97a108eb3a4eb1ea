"""Every pair's score as a CSV file: for tables, curves and doubts of one's own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.image_pairs import ImagePairs
from facedistill.evaluation.metrics.kfold import contiguous_folds
from facedistill.evaluation.protocols.pair_report import PairReport

COLUMNS = ("set", "fold", "first", "second", "same", "score")


def write_scores(
    path: Path, reports: Sequence[PairReport], pair_sets: Sequence[ImagePairs]
) -> None:
    """Write a line for each pair, in the pairs' order, replacing an old file whole.

    The columns are the set's name, the pair's fold from 0 on, the names of both images (their
    numbers, where they have none), 1 for a mated pair and 0 for an impostor pair, and the cosine.

    Args:
        path: Where to.
        reports: One for each set.
        pair_sets: What the reports are of.

    Raises:
        FacedistillError: If the write is refused.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for report, pairs in zip(reports, pair_sets, strict=True):
            names = pairs.image_names if isinstance(pairs, PairSet) else None
            for fold, (first, second), same, score in zip(
                _folds(report, pairs), pairs.pairs.tolist(), pairs.same, report.scores, strict=True
            ):
                images = (names[first], names[second]) if names else (first, second)
                table.writerow([report.name, fold, *images, int(same), f"{score:.6f}"])


def _folds(report: PairReport, pairs: ImagePairs) -> np.ndarray:
    """Return each pair's fold, the contiguous ones where a set names none."""
    if pairs.folds is not None:
        return pairs.folds
    return contiguous_folds(len(report.scores), len(report.result.fold_accuracy))
