"""Plots of verification: ROC, DET and the scores of both kinds of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from facedistill.core.estimate import Interval
from facedistill.evaluation.metrics.roc import OperatingPoint, RocCurve, far_name
from facedistill.evaluation.metrics.score_histogram import EDGES, ScoreCounts
from facedistill.report.figures.curves import roc_points
from facedistill.report.figures.plot_style import (
    COLOURS,
    FAINT,
    GENUINE,
    IMPOSTOR,
    colours,
    legend_of_many,
    plot_axes,
    whisker,
)

_DET_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)


def draw_roc(
    curves: Mapping[str, RocCurve],
    points: Sequence[OperatingPoint] = (),
    intervals: Mapping[str, Interval] | None = None,
) -> Figure:
    """Draw true accept rate over false accept rate, the latter on a logarithmic axis.

    Args:
        curves: ROC curves by their names.
        points: Operating points of the first curve to mark.
        intervals: Their intervals by `far_name`.
    """
    with plot_axes() as (figure, (axes,)):
        for colour, (name, curve) in zip(colours(), curves.items(), strict=False):
            far, tar = roc_points(curve)
            axes.step(far, 100 * tar, where="post", label=name, color=colour)
        for point in points:
            if point.far is not None and point.tar is not None:
                interval = (intervals or {}).get(far_name(point.target))
                whisker(axes, point.target, 100 * point.tar, interval, 100, COLOURS[0])
        axes.set(xscale="log", xlabel="false accept rate", ylabel="true accept rate %")
        _log_ticks(axes)
        legend_of_many(axes, curves, "lower right")
    return figure


def draw_det(curves: Mapping[str, RocCurve]) -> Figure:
    """Draw false reject over false accept rate, both as normal deviates (the DET curve).

    Normal scores give straight lines (Martin et al., "The DET curve in assessment of detection task
    performance", 1997).

    Args:
        curves: ROC curves by their names.
    """
    with plot_axes() as (figure, (axes,)):
        lowest = [1.0, 1.0]
        for colour, (name, curve) in zip(colours(), curves.items(), strict=False):
            far, tar = roc_points(curve)
            drawn = (far < 1) & (tar < 1) & (tar > 0)
            far, frr = far[drawn], 1 - tar[drawn]
            if len(far):
                lowest = [min(lowest[0], far.min()), min(lowest[1], frr.min())]
            axes.step(ndtri(far), ndtri(frr), where="post", label=name, color=colour)
        for axis, least in zip((axes.xaxis, axes.yaxis), lowest, strict=True):
            below = [tick for tick in _DET_TICKS if tick <= least]
            ticks = [tick for tick in _DET_TICKS if tick >= (below[-1] if below else 0)]
            axis.set_ticks(ndtri(ticks), [_percent_tick(tick) for tick in ticks])
        # Where accepts equal rejects.
        ends = ndtri([max(lowest), 0.5])
        axes.plot(ends, ends, color="#b8c0c9", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        axes.set(xlabel="false accept rate %", ylabel="false reject rate %")
        legend_of_many(axes, curves, "upper right")
    return figure


def draw_scores(counts: ScoreCounts, thresholds: Mapping[str, float] | None = None) -> Figure:
    """Draw how genuine and impostor scores are spread, each as shares of its own kind.

    Args:
        counts: The scores, counted.
        thresholds: Cosines by what they are, drawn as lines.
    """
    with plot_axes() as (figure, (axes,)):
        merged = _merged_bins(counts)
        edges = EDGES[::merged]
        shown = np.flatnonzero((counts.genuine + counts.impostors).reshape(-1, merged).sum(axis=1))
        for label, values, colour in (
            ("impostor", counts.impostors, IMPOSTOR),
            ("genuine", counts.genuine, GENUINE),
        ):
            share = 100 * values.reshape(-1, merged).sum(axis=1) / max(values.sum(), 1)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.28, linewidth=0)
            axes.stairs(share, edges, color=colour, linewidth=1.4, label=label)
        low, high = edges[max(shown[0] - 1, 0)], edges[min(shown[-1] + 2, len(edges) - 1)]
        top = axes.get_ylim()[1] * 1.22
        for place, (name, cosine) in enumerate(_some(thresholds or {}, 4)):
            axes.axvline(cosine, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.annotate(
                name,
                (cosine, top * (0.985 - 0.075 * place)),
                xytext=(3, 0),
                textcoords="offset points",
                va="top",
                fontsize=8,
                color=FAINT,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        axes.set(xlabel="cosine", ylabel="share of pairs %", xlim=(low, high), ylim=(0, top))
        axes.legend(loc="upper left")
    return figure


def lowest_measured(points: Sequence[Sequence[OperatingPoint]]) -> float | None:
    """Return the lowest false accept rate that all could measure."""
    measured = [{point.target for point in each if point.tar is not None} for each in points]
    return min(set.intersection(*measured), default=None)


def _merged_bins(counts: ScoreCounts) -> int:
    """Return how many bins to draw as one, so that chance does not show as teeth."""
    fewest = min(counts.genuine.sum(), counts.impostors.sum())
    return 1 if fewest > 100_000 else 2 if fewest > 10_000 else 4


def _log_ticks(axes: Axes) -> None:
    low, high = axes.get_xlim()
    decades = range(int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9)) + 1)
    axes.set_xticks([10.0**decade for decade in decades], [f"1e{d}" if d else "1" for d in decades])
    axes.minorticks_off()


def _some(values: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: item[1])[:most]


def _percent_tick(rate: float) -> str:
    return f"{100 * rate:g}"
