"""A comparison as one HTML page that needs nothing else, and all its files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from facedistill.core.atomic import atomic_path
from facedistill.core.estimate import Estimate
from facedistill.core.json_text import json_text
from facedistill.evaluation.statistics.table_rows import Row, RunResult, figures_of
from facedistill.report.documents.comparison_table import (
    PAIRED,
    cells_of,
    columns_of,
    crashes,
    explanation,
    licences_of,
    paired_cells,
    paired_columns,
    to_csv,
    to_dict,
    to_markdown,
)
from facedistill.report.documents.model_card import UNKNOWN
from facedistill.report.documents.pareto_panels import PARETO, pareto_figure
from facedistill.report.figures.curves import ACCURACY, LOSS, save_figure, series
from facedistill.report.page import drawing_uri, figure_uri, render_page
from facedistill.report.table import figure_column

TABLES = ("comparison.md", "comparison.csv", "comparison.json", "comparison.html")
"""Files that a comparison is written to."""
_VALIDATION = "validation."
_STYLES = ("-", "--", ":", "-.")


def to_html(name: str, rows: Sequence[Row]) -> str:
    """Return the comparison as an HTML document.

    It has the table, which sorts by any column, of networks that differ in size a figure of what
    they are worth, curves of training, and each row's licences, figures by seed, parts of the loss,
    figures and recipe. Unknown licences and crashes are red.

    Args:
        name: Its title.
        rows: The table.
    """
    columns, pareto, learning = columns_of(rows), pareto_figure(rows), learning_figure(rows)
    paired = paired_columns(rows)
    return render_page(
        "comparison.html",
        name=name,
        unknown=UNKNOWN,
        explanation=explanation(rows),
        crashes=crashes(rows),
        paired=PAIRED,
        paired_columns=[column.title for column in paired],
        paired_rows=[
            [column.text(cells.get(column.key)) for column in paired]
            for cells in paired_cells(rows)
        ],
        pareto=drawing_uri(pareto) if pareto else None,
        curves=drawing_uri(learning) if learning else None,
        columns=[column.title for column in columns],
        rows=[
            {
                "name": row.name,
                "errors": row.errors,
                "licences": licences_of(row),
                "cells": [
                    {"text": column.text(value), "value": _sortable(value)}
                    for column in columns
                    for value in [cells_of(row).get(column.key)]
                ],
                "seeds": _by_seed(row),
                "curves": _parts(row),
                "figures": _figures(row),
                "recipe": row.recipe,
            }
            for row in rows
        ],
    )


def write_comparison(name: str, rows: Sequence[Row], out: str | Path) -> list[Path]:
    """Write `comparison.md`, `.csv`, `.json` and `.html`, and `pareto.png` of unlike networks.

    Args:
        name: Title of the comparison.
        rows: The table.
        out: Folder to write to.

    Returns:
        The files written.
    """
    texts = (
        to_markdown(name, rows),
        to_csv(rows),
        json_text(to_dict(name, rows)) + "\n",
        to_html(name, rows),
    )
    paths = [Path(out) / file for file in TABLES]
    for path, text in zip(paths, texts, strict=True):
        with atomic_path(path) as temporary:
            temporary.write_text(text, "utf-8")
    if pareto := pareto_figure(rows):
        paths.append(Path(out) / PARETO)
        save_figure(pareto, paths[-1])
    return paths


def _sortable(value: Any) -> str:
    if isinstance(value, Estimate):
        value = value.value
    missing = value is None or (isinstance(value, float) and not math.isfinite(value))
    return "" if missing else str(value)


def _by_seed(row: Row) -> dict[str, Any] | None:
    """The figures of each finished seed, as they were before the mean was taken."""
    figures = {
        run.seed: {
            (name, figure): estimate.value
            for name, measured in run.measured.items()
            for figure, estimate in figures_of(measured.report).items()
        }
        for run in row.finished
    }
    columns = {
        (name, figure): figure_column(name, figure, f"{name} {figure}")
        for each in figures.values()
        for name, figure in each
    }
    if not columns:
        return None
    return {
        "columns": [column.title for column in columns.values()],
        "rows": [
            (seed, [column.text(each.get(key)) for key, column in columns.items()])
            for seed, each in figures.items()
        ],
    }


def learning_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw a validation figure and the loss over steps, a colour a row, a style a seed."""
    runs = [run for row in rows for run in row.runs]
    shown = _validation_figure(runs)
    keys = ([shown] if shown else []) + ([LOSS] if any(_has(run, LOSS) for run in runs) else [])
    if not keys:
        return None
    figure = Figure(figsize=(6 * len(keys), 4.2), layout="constrained")
    plots = figure.subplots(1, len(keys), squeeze=False)[0]
    styles = dict(zip(sorted({run.seed for run in runs}), cycle(_STYLES), strict=False))
    lines: dict[str, Any] = {}  # One of each row that has any, for the legend.
    for axes, key in zip(plots, keys, strict=True):
        for colour, row in zip(_colours(len(rows)), rows, strict=True):
            for run in (run for run in row.runs if _has(run, key)):
                (line,) = axes.plot(
                    *series(run.records, key),
                    color=colour,
                    linestyle=styles[run.seed],
                    linewidth=1.2,
                    marker="." if key != LOSS else None,
                )
                lines.setdefault(row.name, line)
        axes.set(xlabel="step", ylabel=key)
        if key == LOSS:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=6, fontsize=8)
    return figure


def _colours(count: int) -> list[Any]:
    """So many colours, no two alike."""
    if count <= 10:
        return [f"C{number}" for number in range(count)]
    return [colormaps["turbo"](number / (count - 1)) for number in range(count)]


def _parts(row: Row) -> str | None:
    """Figure of everything that the first seed recorded of its loss."""
    run = next((run for run in row.runs if _has(run, LOSS)), None)
    if run is None:
        return None
    left_out = ("step", "epoch", "lr")
    keys = list(dict.fromkeys(key for record in run.records for key in record))
    keys = [key for key in keys if key not in left_out and not key.startswith(_VALIDATION)]
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for key in keys:
        axes.plot(*series(run.records, key), label=key, linewidth=1.2)
    axes.set(xlabel="step", title=f"{row.name}, seed {run.seed}", yscale="symlog")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return drawing_uri(figure)


def _figures(row: Row) -> list[tuple[str, str | None]]:
    """What the figures of the first seed that drew some show, and each as a URI; None if torn."""
    run = next((run for run in row.finished if run.figure_files), None)
    if run is None:
        return []
    return [
        (f"{row.name}, seed {run.seed}: {shows}", figure_uri(path))
        for shows, path in run.figure_files.items()
    ]


def _validation_figure(runs: Sequence[RunResult]) -> str | None:
    """The accuracy on validation identities, or what else runs were validated by."""
    keys: Mapping[str, None] = dict.fromkeys(
        key for run in runs for record in run.records for key in record
    )
    if ACCURACY in keys:
        return ACCURACY
    return next((key for key in keys if key.startswith(_VALIDATION)), None)


def _has(run: RunResult, key: str) -> bool:
    return any(key in record for record in run.records)
