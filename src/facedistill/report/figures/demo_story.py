"""The figure at the end of the demo: training curves, and decisions on pairs of faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.metrics.roc import roc_curve
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.report.figures.curves import ACCURACY, roc_points, save_figure, series
from facedistill.report.sheet import pair_sheet

_PAIRS_SHOWN = 24


def plot_story(
    path: str | Path,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    reports: Mapping[str, PairReport],
    pairs: PairSet,
    shown: str,
) -> None:
    """Draw validation accuracy over training, ROC curves, and test pairs with their scores.

    Args:
        path: A name that ends in .png.
        runs: Records of `metrics.jsonl` by the network's name.
        reports: Figures on `pairs` by the same names.
        pairs: The test pairs.
        shown: Whose scores stand under the pairs.
    """
    figure = Figure(figsize=(13, 11), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.9), squeeze=False)[:, 0]
    learning, roc = above.subplots(1, 2)
    for name, records in runs.items():
        steps, accuracies = series(records, ACCURACY)
        learning.plot(steps, 100 * accuracies, marker=".", label=name)
    learning.set(xlabel="step", ylabel="accuracy % on validation identities", title="learning")
    learning.legend()
    for name, report in reports.items():
        far, tar = roc_points(roc_curve(report.scores, report.same))
        roc.step(far, 100 * tar, where="post", label=f"{name}, {100 * report.accuracy:.1f} %")
    roc.set(
        xscale="log",
        xlabel="false accept rate",
        ylabel="true accept rate %",
        title="unseen identities",
    )
    roc.legend(loc="lower right")
    for axes in (learning, roc):
        axes.grid(alpha=0.3)
    sheet = below.subplots()
    sheet.imshow(_scored_pairs(reports[shown], pairs))
    sheet.set_title(f"what the {shown} says: cosine of the pair, and whether that is right")
    sheet.axis("off")
    save_figure(figure, path)


def _scored_pairs(report: PairReport, pairs: PairSet) -> np.ndarray:
    """Pairs spread evenly over the test, decided at the median threshold of the ten folds."""
    chosen = np.unique(np.linspace(0, len(pairs.pairs) - 1, _PAIRS_SHOWN).astype(int))
    images = [(pairs.image(int(a)), pairs.image(int(b))) for a, b in pairs.pairs[chosen]]
    threshold = float(np.median(report.result.cosine_thresholds))
    return pair_sheet(images, report.scores[chosen], report.same[chosen], threshold, columns=6)
