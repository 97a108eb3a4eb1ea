"""The plot of what the terms of a loss weighed over training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from facedistill.report.figures.plot_style import colours, plot_axes


def draw_shares(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw each term's share of the student's gradient over the steps.

    Args:
        curves: By objective, the steps (N,) at which it was measured and the shares (N,).
    """
    with plot_axes() as (figure, (axes,)):
        for (name, (steps, shares)), colour in zip(curves.items(), colours(), strict=False):
            axes.plot(steps, 100 * shares, marker="o", markersize=3, color=colour, label=name)
        axes.set(xlabel="step", ylabel="share of the gradient %", ylim=(0, 100))
        axes.legend()
    return figure
