"""The plot of landmarks' errors over faces."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from facedistill.evaluation.metrics.landmark_errors import cumulative_curve
from facedistill.report.figures.plot_style import (
    GENUINE,
    plot_axes,
)


def draw_cumulative(face_errors: np.ndarray, limit: float) -> Figure:
    """Draw the share of faces over their landmarks' error.

    Args:
        face_errors: (N,), over the distance of the eyes.
        limit: The largest error that matters.
    """
    with plot_axes() as (figure, (axes,)):
        errors, shares = cumulative_curve(face_errors)
        axes.step([0, *(100 * errors)], [0, *(100 * shares)], where="post", color=GENUINE)
        axes.set(xlabel="error % of the distance of the eyes", ylabel="faces %")
        axes.set(xlim=(0, 150 * limit), ylim=(0, 101))
    return figure
