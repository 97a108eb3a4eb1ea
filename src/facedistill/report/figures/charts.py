"""Drawings of what an evaluation found, in one style, for pages and paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.metrics.roc import OperatingPoint, RocCurve, far_name
from facedistill.evaluation.metrics.score_histogram import EDGES, ScoreCounts
from facedistill.evaluation.protocols.distractors import DistractorRate
from facedistill.evaluation.protocols.fairness import FairnessReport
from facedistill.evaluation.protocols.landmark_localisation import cumulative_curve
from facedistill.evaluation.protocols.robustness import RobustnessReport
from facedistill.evaluation.statistics.pareto_front import ParetoPanel, ParetoPoint
from facedistill.report.figures.curves import roc_points

GENUINE, IMPOSTOR = "#2563a8", "#c8552d"
COLOURS = (GENUINE, IMPOSTOR, "#2e8b6f", "#8a5fb0", "#b08a1e", "#5b6770", "#c0397b", "#3aa0c9")
"""Told apart by people who do not see red and green, and in grey."""

_INK, _FAINT, _GRID = "#1f2933", "#6b7785", "#e6e9ed"
_STYLE: Any = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#b8c0c9",
    "axes.labelcolor": _INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "text.parse_math": False,
}
_SIZE = (4.6, 3.5)
_DET_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)


@contextmanager
def _drawing(
    columns: int = 1, height: float = _SIZE[1], rows: int = 1
) -> Iterator[tuple[Figure, list[Axes]]]:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_SIZE[0] * columns, height * rows), layout="constrained")
        yield figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


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
    with _drawing() as (figure, (axes,)):
        for colour, (name, curve) in zip(_colours(), curves.items(), strict=False):
            far, tar = roc_points(curve)
            axes.step(far, 100 * tar, where="post", label=name, color=colour)
        for point in points:
            if point.far is not None and point.tar is not None:
                interval = (intervals or {}).get(far_name(point.target))
                _whisker(axes, point.target, 100 * point.tar, interval, 100, COLOURS[0])
        axes.set(xscale="log", xlabel="false accept rate", ylabel="true accept rate %")
        _log_ticks(axes)
        _legend(axes, curves, "lower right")
    return figure


def draw_det(curves: Mapping[str, RocCurve]) -> Figure:
    """Draw false reject over false accept rate, both as normal deviates (the DET curve).

    Normal scores give straight lines (Martin et al., "The DET curve in assessment of detection task
    performance", 1997).

    Args:
        curves: ROC curves by their names.
    """
    with _drawing() as (figure, (axes,)):
        lowest = [1.0, 1.0]
        for colour, (name, curve) in zip(_colours(), curves.items(), strict=False):
            far, tar = roc_points(curve)
            drawn = (far < 1) & (tar < 1) & (tar > 0)
            far, frr = far[drawn], 1 - tar[drawn]
            if len(far):
                lowest = [min(lowest[0], far.min()), min(lowest[1], frr.min())]
            axes.step(norm.ppf(far), norm.ppf(frr), where="post", label=name, color=colour)
        for axis, least in zip((axes.xaxis, axes.yaxis), lowest, strict=True):
            below = [tick for tick in _DET_TICKS if tick <= least]
            ticks = [tick for tick in _DET_TICKS if tick >= (below[-1] if below else 0)]
            axis.set_ticks(norm.ppf(ticks), [_percent_tick(tick) for tick in ticks])
        # Where accepts equal rejects.
        ends = norm.ppf([max(lowest), 0.5])
        axes.plot(ends, ends, color="#b8c0c9", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        axes.set(xlabel="false accept rate %", ylabel="false reject rate %")
        _legend(axes, curves, "upper right")
    return figure


def draw_scores(counts: ScoreCounts, thresholds: Mapping[str, float] | None = None) -> Figure:
    """Draw how genuine and impostor scores are spread, each as shares of its own kind.

    Args:
        counts: The scores, counted.
        thresholds: Cosines by what they are, drawn as lines.
    """
    with _drawing() as (figure, (axes,)):
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
            axes.axvline(cosine, color=_FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.annotate(
                name,
                (cosine, top * (0.985 - 0.075 * place)),
                xytext=(3, 0),
                textcoords="offset points",
                va="top",
                fontsize=8,
                color=_FAINT,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        axes.set(xlabel="cosine", ylabel="share of pairs %", xlim=(low, high), ylim=(0, top))
        axes.legend(loc="upper left")
    return figure


def draw_cmc(curves: Mapping[str, np.ndarray]) -> Figure:
    """Draw the share of mated searches whose mate is among the k best, over k.

    Args:
        curves: (K,) rates for k = 1..K by gallery.
    """
    with _drawing() as (figure, (axes,)):
        for colour, (name, rates) in zip(_colours(), curves.items(), strict=False):
            axes.plot(np.arange(1, len(rates) + 1), 100 * rates, label=name, color=colour)
        axes.set(xscale="log", xlabel="rank", ylabel="identification rate %")
        ranks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= max(map(len, curves.values()))]
        axes.set_xticks(ranks, [str(k) for k in ranks])
        axes.minorticks_off()
        _legend(axes, curves, "lower right")
    return figure


def draw_distractors(rates: Sequence[DistractorRate]) -> Figure:
    """Draw identification rates over the number of distractors, one line a rank."""
    with _drawing() as (figure, (axes,)):
        ranks = sorted({rate.rank for rate in rates})
        for colour, rank in zip(_colours(), ranks, strict=False):
            own = [rate for rate in rates if rate.rank == rank]
            sizes = [rate.distractors for rate in own]
            axes.plot(
                sizes,
                [100 * rate.rate.value for rate in own],
                marker="o",
                markersize=4,
                color=colour,
                label=f"rank {rank}",
            )
            for rate in own:
                value = 100 * rate.rate.value
                _whisker(axes, rate.distractors, value, rate.rate.interval, 100, colour)
        axes.set(xscale="log", xlabel="distractors", ylabel="identification rate %")
        sizes = sorted({rate.distractors for rate in rates})
        axes.set_xticks(sizes, [_short(size) for size in sizes])
        axes.minorticks_off()
        axes.legend(loc="best")
    return figure


def draw_cumulative(face_errors: np.ndarray, limit: float) -> Figure:
    """Draw the share of faces over their landmarks' error.

    Args:
        face_errors: (N,), over the distance of the eyes.
        limit: The largest error that matters.
    """
    with _drawing() as (figure, (axes,)):
        errors, shares = cumulative_curve(face_errors)
        axes.step([0, *(100 * errors)], [0, *(100 * shares)], where="post", color=GENUINE)
        axes.set(xlabel="error % of the distance of the eyes", ylabel="faces %")
        axes.set(xlim=(0, 150 * limit), ylim=(0, 101))
    return figure


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
    with _drawing(len(panels), height=0.9 + 0.34 * len(names)) as (figure, panes):
        for pane, (label, estimates) in zip(panes, panels.items(), strict=True):
            _rows(pane, names if pane is panes[0] else [""] * len(names), estimates, label)
            pane.axvline(100 * estimates[0].value, color="#b8c0c9", linewidth=1, zorder=0)
    return figure


def draw_fairness(report: FairnessReport) -> Figure:
    """Draw each group's false match and false non-match rate with intervals."""
    names = [group.group + (" *" if group.left_out else "") for group in report.groups]
    with _drawing(2, height=0.9 + 0.34 * len(names)) as (figure, panes):
        for pane, label, estimates in (
            (panes[0], "false match rate %", [group.fmr for group in report.groups]),
            (panes[1], "false non-match rate %", [group.fnmr for group in report.groups]),
        ):
            _rows(pane, names if pane is panes[0] else [""] * len(names), estimates, label)
            pane.set_xlim(left=0)
    return figure


def draw_pareto(panels: Sequence[ParetoPanel]) -> Figure:
    """Draw how good networks are over what they cost, two panels a row.

    The staircase joins those that no other beats; the others are faint.

    Args:
        panels: Networks with their costs, drawn in this order.
    """
    rows = -(-len(panels) // 2)
    with _drawing(2, rows=rows) as (figure, panes):
        for pane, panel in zip(panes, panels, strict=False):
            _pareto(pane, panel)
        for empty in panes[len(panels) :]:
            empty.set_visible(False)
    return figure


def lowest_measured(points: Sequence[Sequence[OperatingPoint]]) -> float | None:
    """Return the lowest false accept rate that all could measure."""
    measured = [{point.target for point in each if point.tar is not None} for each in points]
    return min(set.intersection(*measured), default=None)


def _rows(
    axes: Axes, names: Sequence[str], estimates: Sequence[Estimate | None], label: str
) -> None:
    """Draw estimates below each other, the first on top."""
    places = np.arange(len(estimates))[::-1]
    for place, estimate in zip(places, estimates, strict=True):
        if estimate is None:
            continue
        interval = estimate.interval
        if interval is not None:
            axes.plot(
                [100 * interval.low, 100 * interval.high],
                [place, place],
                color=GENUINE,
                alpha=0.45,
                linewidth=4,
                solid_capstyle="butt",
            )
        axes.plot([100 * estimate.value], [place], "o", color=GENUINE, markersize=5.5)
    axes.set_yticks(places, list(names))
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.set(xlabel=label, ylim=(-0.6, len(places) - 0.4))
    axes.spines["left"].set_visible(False)


def _pareto(axes: Axes, panel: ParetoPanel) -> None:
    front = panel.front()
    best = sorted((p for p, on in zip(panel.points, front, strict=True) if on), key=_by_cost)
    if len(best) > 1:
        # Of networks between two on the front, the cheaper of the two is the better choice.
        costs, values = [p.cost for p in best], [100 * p.figure.value for p in best]
        axes.step(costs, values, where="post", color="#b8c0c9", linewidth=1.2, zorder=1)
    named = _named(panel.points, front.tolist())
    for place, (point, on_front) in enumerate(zip(panel.points, front, strict=True)):
        colour = GENUINE if on_front else _FAINT
        value = 100 * point.figure.value
        _whisker(axes, point.cost, value, point.figure.interval, 100, colour)
        if place not in named:
            continue
        axes.annotate(
            point.name,
            (point.cost, value),
            xytext=(5, 4 if on_front else -10),
            textcoords="offset points",
            fontsize=8,
            color=_INK if on_front else _FAINT,
        )
    axes.set(xscale="log", xlabel=panel.cost, ylabel=panel.figure)
    axes.xaxis.set_major_formatter(_plain_tick)
    axes.xaxis.set_minor_formatter(_plain_tick)
    axes.tick_params(axis="x", which="minor", length=3.5, pad=3.5, colors=_FAINT)
    axes.margins(x=0.18, y=0.12)


def _named(points: Sequence[ParetoPoint], front: Sequence[bool]) -> list[int]:
    """Whose names are written: first the front's, then others' that stand clear of those.

    Networks of one size taught in many ways would write theirs on top of each other.
    """
    values = [point.figure.value for point in points]
    near = 0.05 * (max(values) - min(values))
    named: list[int] = []
    for place in sorted(range(len(points)), key=lambda i: (not front[i], -values[i])):
        clear = all(
            abs(values[place] - values[other]) > near
            or max(points[place].cost, points[other].cost)
            > 1.3 * min(points[place].cost, points[other].cost)
            for other in named
        )
        if clear or front[place]:
            named.append(place)
    return named


def _by_cost(point: ParetoPoint) -> tuple[float, float]:
    return point.cost, point.figure.value


def _plain_tick(value: float, _: float) -> str:
    """The first digit of a number and its place: 0.5, 20, 3000; nothing between."""
    digit = f"{value:.0e}"[0]
    return f"{value:g}" if digit in "125" else ""


def _merged_bins(counts: ScoreCounts) -> int:
    """Return how many bins to draw as one, so that chance does not show as teeth."""
    fewest = min(counts.genuine.sum(), counts.impostors.sum())
    return 1 if fewest > 100_000 else 2 if fewest > 10_000 else 4


def _whisker(
    axes: Axes, x: float, y: float, interval: Interval | None, scale: float, colour: str
) -> None:
    if interval is not None:
        axes.plot([x, x], [scale * interval.low, scale * interval.high], color=colour, alpha=0.45,
                  linewidth=3, solid_capstyle="butt", zorder=3)  # fmt: skip
    axes.plot([x], [y], "o", color=colour, markersize=4, zorder=4)


def _legend(
    axes: Axes, curves: Mapping[str, object], place: Literal["lower right", "upper right"]
) -> None:
    if len(curves) > 1:
        axes.legend(loc=place)


def _colours() -> Iterator[str]:
    while True:
        yield from COLOURS


def _log_ticks(axes: Axes) -> None:
    low, high = axes.get_xlim()
    decades = range(int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9)) + 1)
    axes.set_xticks([10.0**decade for decade in decades], [f"1e{d}" if d else "1" for d in decades])
    axes.minorticks_off()


def _some(values: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: item[1])[:most]


def _percent_tick(rate: float) -> str:
    return f"{100 * rate:g}"


def _short(count: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size and count % (size // 10) == 0:
            return f"{count / size:g} {unit}"
    return f"{count:,}"
