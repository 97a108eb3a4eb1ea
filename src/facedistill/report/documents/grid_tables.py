"""Grids of a comparison as tables: initialisations down, targets across."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facedistill.core.atomic import atomic_path
from facedistill.core.estimate import Estimate
from facedistill.evaluation.statistics.table_rows import Row
from facedistill.recipe.grid import GridRecipe, row_name
from facedistill.report.table import MISSING, Column, markdown_table

GRIDS = "grids.md"
HEADLINES = ("nme", "accuracy")
"""Figures that a cell shows: the first that its row has."""


def grid_tables(name: str, grid: GridRecipe, rows: Sequence[Row]) -> str:
    """Return a grid as Markdown: a table for every choice of all but the last two axes.

    Cells are the mean over the seeds of the headline figure, in percent, with its interval. The
    teacher's row, if the grid names one, is the first of each table. Where seeds crashed the cell
    says how many are left.

    Args:
        name: The grid's name.
        grid: The grid.
        rows: The comparison's rows; those of other grids are passed over.
    """
    known = {row.name: row for row in rows}
    headline = _headline([known.get(row_name(name, cell)) for cell in grid.cells()])
    *pages, down, across = _axes(grid)
    tables = []
    for page in itertools.product(*(grid.axes[axis] for axis in pages)):
        lines = [_teacher(grid, known, headline, across)] if grid.teacher in known else []
        for first in grid.axes[down]:
            line: dict[str, Any] = {"row": first}
            for second in grid.axes.get(across, {str(headline): []}):
                cell = (*page, first, second) if across in grid.axes else (*page, first)
                line[second] = _figure(known.get(row_name(name, cell)), headline)
            lines.append(line)
        title = ", ".join(
            [f"{name}: {headline or 'no figure'} in %"]
            + [f"{axis} {choice}" for axis, choice in zip(pages, page, strict=True)]
        )
        columns = [Column("row", down if across not in grid.axes else f"{down} / {across}")]
        columns += [_Percent(each, each, 2, True) for each in lines[-1] if each != "row"]
        tables.append(f"### {title}\n\n{markdown_table(lines, columns)}\n")
    return "\n".join(tables)


def _axes(grid: GridRecipe) -> list[str]:
    """The axes, pages first; a single one goes down, and across are figures."""
    return list(grid.axes) if len(grid.axes) > 1 else [*grid.axes, "figure of the only axis"]


def _teacher(
    grid: GridRecipe, known: Mapping[str, Row], headline: str | None, across: str
) -> dict[str, Any]:
    """The teacher's line: its figure stands in the first column."""
    first = next(iter(grid.axes.get(across, {str(headline): []})))
    return {
        "row": f"teacher ({grid.teacher})",
        first: _figure(known[str(grid.teacher)], headline),
    }


def write_grids(grids: Mapping[str, GridRecipe], rows: Sequence[Row], out: str | Path) -> Path:
    """Write the tables of all grids to `out/grids.md` and return its path."""
    path = Path(out) / GRIDS
    content = "\n".join(grid_tables(name, grid, rows) for name, grid in grids.items())
    with atomic_path(path) as temporary:
        temporary.write_text(content, "utf-8")
    return path


class _Percent(Column):
    """A column whose header does not repeat the unit, which the title states."""

    @property
    def title(self) -> str:
        """The header alone."""
        return str(self.header)


def _headline(rows: Sequence[Row | None]) -> str | None:
    figures = {name for row in rows if row for each in row.figures.values() for name in each}
    return next((name for name in HEADLINES if name in figures), None)


def _figure(row: Row | None, headline: str | None) -> Estimate | str | None:
    """A row's figure on the first set that has it; marked where runs failed."""
    if row is None:
        return None
    if row.errors and not row.finished:
        return "failed"
    figure = next((each[headline] for each in row.figures.values() if headline in each), None)
    if not row.errors:
        return figure
    text = MISSING if figure is None else figure.text(2, scale=100)
    return f"{text} ({len(row.finished)} of {len(row.runs)}, crashed)"
