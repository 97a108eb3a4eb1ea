"""Plots of figures with intervals below each other: robustness and fairness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facedistill.core.estimate import Estimate
from facedistill.evaluation.metrics.roc import far_name
from facedistill.evaluation.protocols.fairness_report import FairnessReport
from facedistill.evaluation.protocols.robustness import RobustnessReport
from facedistill.report.figures.plot_style import (
    GENUINE,
    INK,
    plot_axes,
)
from facedistill.report.figures.roc_figures import lowest_measured


def draw_robustness(report: RobustnessReport) -> Figure:
    """Draw accuracy, and the true accept rate at the lowest measurable rate, by condition."""
    names = [row.name for row in report.rows]
    panels = {"accuracy %": [row.report.result.estimate for row in report.rows]}
    target = lowest_measured([row.report.points for row in report.rows])
    if target is not None:
        panels[f"TAR@{far_name(target)} %"] = [
            Estimate(point.tar or 0.0, row.report.tar_intervals.get(far_name(target)))
            for row in report.rows
            for point in row.report.points
            if point.target == target
        ]
    with plot_axes(len(panels), height=0.9 + 0.34 * len(names)) as (figure, panes):
        for pane, (label, estimates) in zip(panes, panels.items(), strict=True):
            plot_rows(pane, names if pane is panes[0] else [""] * len(names), estimates, label)
            pane.axvline(100 * estimates[0].value, color="#b8c0c9", linewidth=1, zorder=0)
    return figure


def draw_fairness(report: FairnessReport) -> Figure:
    """Draw each group's false match and false non-match rate with intervals."""
    names = [group.group + (" *" if group.left_out else "") for group in report.groups]
    with plot_axes(2, height=0.9 + 0.34 * len(names)) as (figure, panes):
        for pane, label, estimates in (
            (panes[0], "false match rate %", [group.fmr for group in report.groups]),
            (panes[1], "false non-match rate %", [group.fnmr for group in report.groups]),
        ):
            plot_rows(pane, names if pane is panes[0] else [""] * len(names), estimates, label)
            pane.set_xlim(left=0)
    return figure


def plot_rows(
    axes: Axes,
    names: Sequence[str],
    estimates: Sequence[Estimate | None],
    label: str,
    scale: float = 100,
) -> None:
    """Draw estimates below each other, the first on top.

    Args:
        axes: Where.
        names: What stands beside each.
        estimates: The figures; None leaves a row empty.
        label: Of the axis.
        scale: Multiplies the figures; 100 for percent of shares.
    """
    places = np.arange(len(estimates))[::-1]
    for place, estimate in zip(places, estimates, strict=True):
        if estimate is None:
            continue
        interval = estimate.interval
        if interval is not None:
            axes.plot(
                [scale * interval.low, scale * interval.high],
                [place, place],
                color=GENUINE,
                alpha=0.45,
                linewidth=4,
                solid_capstyle="butt",
            )
        axes.plot([scale * estimate.value], [place], "o", color=GENUINE, markersize=5.5)
    axes.set_yticks(places, list(names))
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(xlabel=label, ylim=(-0.6, len(places) - 0.4))
    axes.spines["left"].set_visible(False)
