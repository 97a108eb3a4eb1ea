"""A comparison's rows as networks to choose from: accuracy over time and size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from facedistill.evaluation.statistics.pareto_front import ParetoPanel, ParetoPoint
from facedistill.evaluation.statistics.table_rows import Row
from facedistill.report.figures.pareto_figure import draw_pareto

PARETO = "pareto.png"
"""Name of the figure in a comparison's folder."""

_ERRORS = ("nme", "eer", "failures")
"""What figures that are better the less they are begin with."""

_Cost = Callable[[Row], float | None]


def pareto_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw the headline figure of every set over time and size.

    Time is milliseconds a face and size that of the file where rows were timed, else they are
    multiply-adds and parameters. Rows without a figure or a cost are left out.

    Args:
        rows: A comparison's.

    Returns:
        The drawing; None where fewer than two rows are of different sizes.
    """
    panels = [panel for panel in pareto_panels(rows) if len(panel.points) > 1]
    return draw_pareto(panels) if panels else None


def pareto_panels(rows: Sequence[Row]) -> list[ParetoPanel]:
    """Return what `pareto_figure` draws: of every set a panel over time and one over size."""
    if len({row.parameters for row in rows if row.parameters is not None}) < 2:
        return []
    sets = dict.fromkeys(name for row in rows for name in row.figures)
    return [_panel(rows, name, len(sets) > 1, *cost) for name in sets for cost in _costs(rows)]


def _costs(rows: Sequence[Row]) -> list[tuple[str, _Cost]]:
    """Time and size by what they are called."""
    if sum(row.milliseconds is not None for row in rows) > 1:
        return [
            ("milliseconds a face, ONNX Runtime, one core", _milliseconds),
            ("file MB", lambda row: None if row.file_bytes is None else row.file_bytes / 1e6),
        ]
    return [
        ("multiply-adds a face, millions", lambda row: _millions(row.macs)),
        ("parameters, millions", lambda row: _millions(row.parameters)),
    ]


def _panel(rows: Sequence[Row], name: str, named: bool, cost: str, cost_of: _Cost) -> ParetoPanel:
    headline = next(iter(next(row.figures[name] for row in rows if name in row.figures)))
    points = []
    for row in rows:
        figure, price = row.figures.get(name, {}).get(headline), cost_of(row)
        if figure is not None and math.isfinite(figure.value) and price:
            points.append(ParetoPoint(row.name, price, figure))
    label = f"{name}: {headline} %" if named else f"{headline} %"
    return ParetoPanel(cost, label, points, less_is_better=headline.startswith(_ERRORS))


def _milliseconds(row: Row) -> float | None:
    return None if row.milliseconds is None else row.milliseconds.value


def _millions(count: int | None) -> float | None:
    return None if count is None else count / 1e6
