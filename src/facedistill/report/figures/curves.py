"""What figures of runs and verifiers draw, and how a figure is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.roc import RocCurve
from facedistill.report.figures.figure_mark import SOFTWARE

DPI = 100
LOSS = "loss"
ACCURACY = "validation.accuracy"

_CORNERS = 2000  # more corners than this a figure cannot show


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


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        FacedistillError: If the path is no PNG or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FacedistillError(f"cannot write {path}: a figure's name ends in .png")
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": SOFTWARE})
