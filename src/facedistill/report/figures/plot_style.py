"""One style of plots for pages and paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facedistill.core.estimate import Interval

GENUINE, IMPOSTOR = "#2563a8", "#c8552d"

COLOURS = (GENUINE, IMPOSTOR, "#2e8b6f", "#8a5fb0", "#b08a1e", "#5b6770", "#c0397b", "#3aa0c9")
"""Distinguishable without seeing red and green, and in grey."""

INK, FAINT, _GRID = "#1f2933", "#6b7785", "#e6e9ed"

_STYLE: Any = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#b8c0c9",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "text.parse_math": False,
}

_SIZE = (4.6, 3.5)


@contextmanager
def plot_axes(
    columns: int = 1, height: float = _SIZE[1], rows: int = 1
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a figure with its axes in this style; it is to be drawn while the context holds."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_SIZE[0] * columns, height * rows), layout="constrained")
        yield figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def whisker(
    axes: Axes, x: float, y: float, interval: Interval | None, scale: float, colour: str
) -> None:
    """Draw a point with its interval as a bar; the interval is scaled, y is not."""
    if interval is not None:
        axes.plot([x, x], [scale * interval.low, scale * interval.high], color=colour, alpha=0.45,
                  linewidth=3, solid_capstyle="butt", zorder=3)  # fmt: skip
    axes.plot([x], [y], "o", color=colour, markersize=4, zorder=4)


def legend_of_many(
    axes: Axes, curves: Mapping[str, object], place: Literal["lower right", "upper right"]
) -> None:
    """Draw a legend where there is more than one curve."""
    if len(curves) > 1:
        axes.legend(loc=place)


def colours() -> Iterator[str]:
    """Yield the colours of curves, over and over."""
    while True:
        yield from COLOURS
