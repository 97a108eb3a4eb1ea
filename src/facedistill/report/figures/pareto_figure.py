"""The plot of networks' figures over what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facedistill.evaluation.statistics.pareto_front import ParetoPanel, ParetoPoint
from facedistill.report.figures.plot_style import (
    FAINT,
    GENUINE,
    INK,
    plot_axes,
    whisker,
)


def draw_pareto(panels: Sequence[ParetoPanel]) -> Figure:
    """Draw how good networks are over what they cost, two panels a row.

    The staircase joins those that no other beats; the others are faint.

    Args:
        panels: Networks with their costs, drawn in this order.
    """
    rows = -(-len(panels) // 2)
    with plot_axes(2, rows=rows) as (figure, panes):
        for pane, panel in zip(panes, panels, strict=False):
            _pareto(pane, panel)
        for empty in panes[len(panels) :]:
            empty.set_visible(False)
    return figure


def _pareto(axes: Axes, panel: ParetoPanel) -> None:
    front = panel.front()
    best = sorted((p for p, on in zip(panel.points, front, strict=True) if on), key=_by_cost)
    if len(best) > 1:
        # Of networks between two on the front, the cheaper of the two is the better choice.
        costs, values = [p.cost for p in best], [100 * p.figure.value for p in best]
        axes.step(costs, values, where="post", color="#b8c0c9", linewidth=1.2, zorder=1)
    named = _named(panel.points, front.tolist())
    for place, (point, on_front) in enumerate(zip(panel.points, front, strict=True)):
        colour = GENUINE if on_front else FAINT
        value = 100 * point.figure.value
        whisker(axes, point.cost, value, point.figure.interval, 100, colour)
        if place not in named:
            continue
        axes.annotate(
            point.name,
            (point.cost, value),
            xytext=(5, 4 if on_front else -10),
            textcoords="offset points",
            fontsize=8,
            color=INK if on_front else FAINT,
        )
    axes.set(xscale="log", xlabel=panel.cost, ylabel=panel.figure)
    axes.xaxis.set_major_formatter(_plain_tick)
    axes.xaxis.set_minor_formatter(_plain_tick)
    axes.tick_params(axis="x", which="minor", length=3.5, pad=3.5, colors=FAINT)
    axes.margins(x=0.18, y=0.12)


def _named(points: Sequence[ParetoPoint], front: Sequence[bool]) -> list[int]:
    """Whose names are written: first the front's, then others' that stand clear of those.

    Networks of one size trained in many ways would write their names over each other.
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
