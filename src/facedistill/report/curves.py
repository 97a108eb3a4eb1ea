"""Pictures of runs and verifiers: training curves and ROC curves, as PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from facedistill.atomic import atomic_path
from facedistill.errors import FacedistillError
from facedistill.evaluation.pairs import PairReport
from facedistill.evaluation.roc import RocCurve, roc_curve

DPI = 100
LOSS = "loss"
ACCURACY = "validation.accuracy"

_CORNERS = 2000  # more corners than this a picture cannot show


def series(records: Iterable[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps at which a figure was recorded, and the figure.

    Args:
        records: The records of a `metrics.jsonl`, each with `step`.
        key: The figure's name; records without it are passed over.

    Returns:
        int64 (N,) and float64 (N,).
    """
    points = [(record["step"], record[key]) for record in records if key in record]
    steps = np.array([step for step, _ in points], dtype=np.int64)
    return steps, np.array([value for _, value in points], dtype=np.float64)


def plot_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: str | Path) -> None:
    """Draw loss and validation accuracy over steps, one line a run.

    A run without validation has its line in the left picture only.

    Args:
        runs: Records of `metrics.jsonl` by the run's name.
        path: A name that ends in .png.

    Raises:
        FacedistillError: If no run recorded a loss, or the path is no PNG or cannot be written.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    drawn = 0
    for name, records in runs.items():
        steps, losses = series(records, LOSS)
        left.plot(steps, losses, label=name)
        drawn += len(steps)
        steps, accuracies = series(records, ACCURACY)
        right.plot(steps, 100 * accuracies, marker=".", label=name)
    if not drawn:
        raise FacedistillError(f"nothing to draw in {path}: no run has recorded a loss yet")
    left.set(xlabel="step", ylabel="loss")
    right.set(xlabel="step", ylabel="validation accuracy %")
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def roc_points(curve: RocCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a ROC curve that a logarithmic axis can show, as a staircase.

    The curve begins at one false accept: below 1 / impostors nothing was measured.

    Args:
        curve: Any ROC curve.

    Returns:
        float64 (N,) false and true accept rates, rising, at most some thousands; the best true
        accept rate at each of the false accept rates.
    """
    last = np.flatnonzero(np.append(np.diff(curve.false_accepts) > 0, True))
    last = last[curve.false_accepts[last] > 0]
    if len(last) > _CORNERS:
        wanted = np.geomspace(1, curve.impostors, _CORNERS)
        last = last[np.unique(np.searchsorted(curve.false_accepts[last], wanted))]
    return curve.far[last], curve.tar[last]


def plot_roc(reports: Sequence[PairReport] | Mapping[str, PairReport], path: str | Path) -> None:
    """Draw true accept rate over false accept rate, the latter on a logarithmic axis.

    Args:
        reports: Reports, labelled by the pairs' name, or by the key of a mapping.
        path: A name that ends in .png.

    Raises:
        FacedistillError: If there is no report, or the path is no PNG or cannot be written.
    """
    if not reports:
        raise FacedistillError(f"nothing to draw in {path}: there are no reports")
    items = reports.items() if isinstance(reports, Mapping) else ((r.title, r) for r in reports)
    figure = Figure(figsize=(6, 4.8), layout="constrained")
    axes = figure.subplots()
    for name, report in items:
        far, tar = roc_points(roc_curve(report.scores, report.same))
        axes.step(far, 100 * tar, where="post", label=name)
    axes.set(xscale="log", xlabel="false accept rate", ylabel="true accept rate %")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")
    save_figure(figure, path)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        FacedistillError: If the path is no PNG or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FacedistillError(f"cannot write {path}: a picture's name ends in .png")
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")
