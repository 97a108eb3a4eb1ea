"""A comparison as it is read: table for the terminal, Markdown, CSV, JSON, and one HTML page."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from facedistill.atomic import atomic_path
from facedistill.evaluation.rows import Row
from facedistill.report.table import MISSING, Column, markdown_table

UNKNOWN = "unknown"
"""What a licence is called that nobody stated."""

_PERCENT = ("accuracy", "eer", "tar@")


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of the table: those of every set, then what each row costs."""
    sets = _names(row.figures for row in rows)
    columns = [Column("row")]
    for name in sets:
        label = f"{name}: " if len(sets) > 1 else ""
        for figure in _names(row.figures.get(name, {}) for row in rows):
            percent = figure.startswith(_PERCENT)
            digits = 2 if percent else 4
            columns.append(
                Column(f"{name}|{figure}", label + _title(figure), digits=digits, percent=percent)
            )
        for other in _names(row.differences.get(name, {}) for row in rows):
            columns.append(
                Column(f"{name}|-{other}", f"{label}less {other}", digits=2, percent=True)
            )
    return [
        *columns,
        Column("step_ratio", "time a step", digits=2),
        Column("parameters", "parameters M", digits=2),
        Column("macs", "MMACs", digits=1),
        Column("seeds"),
    ]


def cells_of(row: Row) -> dict[str, Any]:
    """Return a row's values by the columns' keys."""
    cells: dict[str, Any] = {"row": row.name}
    for name, figures in row.figures.items():
        cells |= {f"{name}|{figure}": estimate for figure, estimate in figures.items()}
    for name, differences in row.differences.items():
        cells |= {f"{name}|-{other}": estimate for other, estimate in differences.items()}
    cells["step_ratio"] = row.step_ratio
    cells["parameters"] = None if row.parameters is None else row.parameters / 1e6
    cells["macs"] = None if row.macs is None else row.macs / 1e6
    done, wanted = len(row.finished), len(row.runs)
    cells["seeds"] = str(done) if done == wanted else f"{done} of {wanted}, crashed"
    return cells


def explanation(rows: Sequence[Row]) -> list[str]:
    """Return what the table's figures mean, a sentence an item."""
    seeds = max(len(row.runs) for row in rows)
    said = [
        "Figures are means over the seeds with their 95 % Student-t interval."
        if seeds > 1
        else "One seed: intervals are the test's, 95 %, by bootstrap over identities (over pairs "
        "where identities are not known); they say nothing of how a second seed would do."
    ]
    if any(row.differences.get(name) for row in rows for name in row.differences):
        said.append(
            "Differences (less ...) are of accuracy on the same pairs, with their 95 % interval by "
            "bootstrap over the test's identities; the seeds stay as they are."
        )
    if any(row.step_ratio is not None for row in rows):
        said.append("Time a step is the median step's, data and teacher included, as a ratio.")
    return said


def crashes(rows: Sequence[Row]) -> list[str]:
    """Return one line for every run that crashed."""
    return [
        f"{row.name}, seed {seed}: crashed: {error}"
        for row in rows
        for seed, error in row.errors.items()
    ]


def print_comparison(name: str, rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the headline figures, what they mean, and what crashed; the files say the rest."""
    console = console or Console()
    columns = [column for column in columns_of(rows) if _is_short(column, rows)]
    table = Table(title=name, title_justify="left")
    for column in columns:
        justify = "left" if column.key == "row" else "right"
        table.add_column(column.title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        cells = cells_of(row)
        style = "red" if row.errors else None
        table.add_row(*(column.text(cells.get(column.key)) for column in columns), style=style)
    console.print(table)
    for line in [*explanation(rows), *crashes(rows)]:
        console.print(line, highlight=False, markup=False)


def write_comparison(name: str, rows: Sequence[Row], out: str | Path) -> list[Path]:
    """Write the comparison as Markdown, CSV and JSON.

    Args:
        name: Its title.
        rows: The table.
        out: Folder to write to.

    Returns:
        The files written.
    """
    out = Path(out)
    texts = {
        "comparison.md": to_markdown(name, rows),
        "comparison.json": json.dumps(to_dict(name, rows), indent=2) + "\n",
    }
    for file, text in texts.items():
        with atomic_path(out / file) as temporary:
            temporary.write_text(text, "utf-8")
    with (
        atomic_path(out / "comparison.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        _write_csv(rows, stream)
    return [out / "comparison.md", out / "comparison.csv", out / "comparison.json"]


def to_markdown(name: str, rows: Sequence[Row]) -> str:
    """Return the comparison as a Markdown document."""
    parts = [
        f"# {name}",
        markdown_table([cells_of(row) for row in rows], columns_of(rows)),
        " ".join(explanation(rows)),
    ]
    if crashes(rows):
        parts.append("\n".join(f"- {line}" for line in crashes(rows)))
    licences = "\n".join(f"- {row.name}: {licence_line(row)}" for row in rows)
    return "\n\n".join([*parts, "## Licences", licences]) + "\n"


def licence_line(row: Row) -> str:
    """Return what is known of the licences that may bind a row's network."""
    data = _marked(row.data_licence)
    if row.teacher_licence is None:
        return f"training data {data}"
    return f"teacher {_marked(row.teacher_licence)}, training data {data}"


def to_dict(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the comparison as plain values for JSON, every seed's figures included."""
    return {
        "name": name,
        "rows": [
            {
                "row": row.name,
                "figures": {k: _plain(v) for k, v in row.figures.items()},
                "differences": {k: _plain(v) for k, v in row.differences.items()},
                "step_ratio": row.step_ratio,
                "step_seconds": row.step_seconds,
                "parameters": row.parameters,
                "macs": row.macs,
                "teacher_licence": row.teacher_licence,
                "data_licence": row.data_licence,
                "recipe": row.recipe,
                "runs": [
                    {
                        "seed": run.seed,
                        "error": run.error,
                        "step_seconds": run.step_seconds,
                        "measured": {k: dict(m.report) for k, m in run.measured.items()},
                    }
                    for run in row.runs
                ],
            }
            for row in rows
        ],
    }


def _write_csv(rows: Sequence[Row], stream: Any) -> None:
    """Numbers as they are, shares not in percent; intervals in columns of their own."""
    columns = columns_of(rows)
    writer = csv.writer(stream)
    header: list[str] = []
    estimates = {c.key for c in columns if "|" in c.key}
    for column in columns:
        header.append(column.key)
        if column.key in estimates:
            header += [f"{column.key} low", f"{column.key} high"]
    writer.writerow([*header, "error"])
    for row in rows:
        cells, line = cells_of(row), []
        for column in columns:
            value = cells.get(column.key)
            if column.key not in estimates:
                line.append(value)
                continue
            interval = value.interval if value else None
            line.append(value.value if value else None)
            line += [interval.low, interval.high] if interval else [None, None]
        writer.writerow([*line, "; ".join(row.errors.values())])


def _is_short(column: Column, rows: Sequence[Row]) -> bool:
    """Whether a column fits a terminal: of each set the first figure, differences, costs."""
    first = {f"{name}|{next(iter(row.figures[name]), '')}" for row in rows for name in row.figures}
    return "|" not in column.key or "|-" in column.key or column.key in first


def _plain(estimates: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def _names(mappings: Any) -> list[str]:
    """All keys, in the order in which they are first met."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _title(figure: str) -> str:
    return figure.upper() if figure in ("auc", "eer") else figure.replace("tar@", "TAR@")


def _marked(licence: str) -> str:
    return f"**{UNKNOWN.upper()}**" if licence == UNKNOWN else licence or MISSING
