"""A comparison as a table: for the terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from facedistill.core.errors import escaped
from facedistill.core.json_text import finite
from facedistill.evaluation.statistics.seed_differences import SeedDifference
from facedistill.evaluation.statistics.table_rows import Row
from facedistill.report.documents.model_card import marked_licence
from facedistill.report.table import Column, figure_column, markdown_table, plain_markdown

_LEAST_COLUMNS = 3
"""Columns that a terminal shows however narrow it is: row, seeds, first figure."""


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Return the table's columns.

    First the headline figure of every set with its differences, then what a row costs, then the
    other figures.
    """
    headlines, others = [], []
    sets = _names(row.figures for row in rows)
    for name in sets:
        label = f"{name}: " if len(sets) > 1 else ""
        first, *rest = _names(row.figures.get(name, {}) for row in rows)
        headlines.append(_figure_column(name, first, label))
        headlines += [
            Column(f"{name}|-{other.name}", f"{label}less {other.name}", digits=2, percent=True)
            for other in rows
            if any(other.name in row.differences.get(name, {}) for row in rows)
        ]
        others += [_figure_column(name, figure, label) for figure in rest]
    return [
        Column("row"),
        Column("seeds"),
        *headlines,
        Column("step_ratio", "time a step", digits=2),
        Column("parameters", "parameters M", digits=2),
        Column("macs", "MMACs", digits=1),
        *_timed_columns(rows),
        *others,
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
    cells["milliseconds"] = row.milliseconds
    cells["file"] = None if row.file_bytes is None else row.file_bytes / 1e6
    done, wanted = len(row.finished), len(row.runs)
    cells["seeds"] = str(done) if done == wanted else f"{done} of {wanted}, crashed"
    return cells


PAIRED = (
    "A figure of a row less that of another, shares in percentage points, paired by seed: mean, "
    "95 % Student-t interval, and the least difference that so many seeds find with 80 % chance. "
    "An interval around 0 says nothing of smaller differences than that."
)
"""What the table of differences by seed shows."""


def paired_columns(rows: Sequence[Row], headlines: bool = False) -> list[Column]:
    """Return the columns of the differences paired by seed; none where no two rows share seeds.

    Args:
        rows: The table's.
        headlines: Whether only the first figure of every set is wanted.
    """
    sets = _names(row.seed_differences for row in rows)
    figures = [
        Column(f"{name}|{figure}", (f"{name}: " if len(sets) > 1 else "") + _title(figure))
        for name in sets
        for figure in _names(row.figures.get(name, {}) for row in rows)[: 1 if headlines else None]
    ]
    return [Column("row"), Column("less"), Column("seeds"), *figures] if paired_cells(rows) else []


def paired_cells(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the differences paired by seed, one mapping for each two rows, by `paired_columns`."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        for name, references in row.seed_differences.items():
            for other, differences in references.items():
                for figure, each in differences.items():
                    if each.estimate.interval is None:
                        continue
                    cells = found.setdefault((row.name, other), {"row": row.name, "less": other})
                    cells["seeds"] = each.estimate.interval.units
                    cells[f"{name}|{figure}"] = _paired_text(figure, each)
    return list(found.values())


def _paired_text(figure: str, found: SeedDifference) -> str:
    column = figure_column(figure, figure)
    digits, scale = column.digits, 100.0 if column.percent else 1.0
    least = "" if found.least is None else f"; least {scale * found.least:.{digits}f}"
    return found.estimate.text(digits, scale=scale, signed=True) + least


def explanation(rows: Sequence[Row]) -> list[str]:
    """Return what the table's figures mean, a sentence an item."""
    counts = {len(row.finished) for row in rows} - {0}
    notes = []
    if counts - {1}:
        notes.append("Figures are means over the seeds with their 95 % Student-t interval.")
    if 1 in counts:
        notes.append(
            "Of a row with one seed the interval is the test's, 95 % by bootstrap over identities "
            "(over pairs where identities are not known): it says nothing of another seed."
        )
    if any(row.differences.get(name) for row in rows for name in row.differences):
        notes.append(
            "Differences (less ...) are of the first figure on the same pairs or faces, with their "
            "95 % interval by bootstrap over the test's identities (or faces); the seeds stay as "
            "they are."
        )
    if any(row.step_ratio is not None for row in rows):
        notes.append("Time a step is the median step's, data and teacher included, as a ratio.")
    if any(row.milliseconds for row in rows):
        notes.append(
            "Milliseconds are of one face, the median through ONNX Runtime on one core, the rows "
            "taking turns, with their 95 % interval over the turns."
        )
    return notes


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
    columns = columns_of(rows)
    costs = ("macs", "milliseconds", "file")
    columns = columns[: 1 + max(i for i, column in enumerate(columns) if column.key in costs)]
    columns, left_out = _fitting(columns, rows, console.width)
    table = Table(title=escape(escaped(name)), title_justify="left")
    for column in columns:
        justify = "left" if column.key == "row" else "right"
        table.add_column(escape(column.title), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        cells = cells_of(row)
        style = "red" if row.errors else None
        texts = [escape(column.text(cells.get(column.key))) for column in columns]
        table.add_row(*texts, style=style)
    console.print(table)
    if left_out:
        names = ", ".join(column.title for column in left_out)
        wider = f"Not shown for want of width, and in the files: {names}."
        console.print(escaped(wider), highlight=False, markup=False)
    for line in [*explanation(rows), *crashes(rows)]:
        console.print(escaped(line), highlight=False, markup=False)
    if columns := paired_columns(rows, headlines=True):
        _print_paired(rows, columns, console)


def _fitting(
    columns: Sequence[Column], rows: Sequence[Row], width: int
) -> tuple[list[Column], list[Column]]:
    """Return the columns that a line has room for, and the others; the first three always fit."""
    cells = [cells_of(row) for row in rows]
    shown: list[Column] = []
    left_out: list[Column] = []
    room = width - 1
    for place, column in enumerate(columns):
        texts = [*column.title.split(), *(column.text(each.get(column.key)) for each in cells)]
        needed = max(map(len, texts)) + 3  # A rule and a blank on either side.
        if needed <= room or place < _LEAST_COLUMNS:
            shown.append(column)
            room -= needed
        else:
            left_out.append(column)
    return shown, left_out


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the row with the best headline figure of the first set; None where none has one."""
    sets = _names(row.figures for row in rows)
    figures = _names(row.figures.get(sets[0], {}) for row in rows) if sets else []
    if not figures:
        return None
    sign = -1 if figures[0].startswith(("nme", "eer")) else 1
    ranked = [row for row in rows if row.finished and figures[0] in row.figures.get(sets[0], {})]
    return max(ranked, key=lambda row: sign * row.figures[sets[0]][figures[0]].value, default=None)


def _print_paired(rows: Sequence[Row], columns: Sequence[Column], console: Console) -> None:
    table = Table(title="paired by seed", title_justify="left")
    for column in columns:
        justify = "left" if column.key in ("row", "less") else "right"
        table.add_column(escape(column.title), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for cells in paired_cells(rows):
        table.add_row(*(escape(column.text(cells.get(column.key))) for column in columns))
    console.print(table)
    console.print(PAIRED, highlight=False, markup=False)


def to_markdown(name: str, rows: Sequence[Row]) -> str:
    """Return the comparison as a Markdown document."""
    parts = [
        plain_markdown(f"# {name}"),
        markdown_table([cells_of(row) for row in rows], columns_of(rows)),
        plain_markdown(" ".join(explanation(rows))),
    ]
    if columns := paired_columns(rows):
        parts += ["## Paired by seed", markdown_table(paired_cells(rows), columns), PAIRED]
    if crashes(rows):
        parts.append(plain_markdown("\n".join(f"- {line}" for line in crashes(rows))))
    licences = plain_markdown("\n".join(_licence_lines(rows)))
    return "\n\n".join([*parts, "## Licences", licences]) + "\n"


def licences_of(row: Row) -> list[tuple[str, str]]:
    """Return whose licences may bind a row's network, and what they are called."""
    teacher = [] if row.teacher_licence is None else [("teacher", row.teacher_licence)]
    return [*teacher, ("training data", row.data_licence)]


def to_dict(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the comparison as plain values for JSON, every seed's figures included.

    Numbers that are not finite, which JSON cannot hold, are None.
    """
    document = {
        "name": name,
        "rows": [
            {
                "row": row.name,
                "figures": {k: _plain(v) for k, v in row.figures.items()},
                "differences": {k: _plain(v) for k, v in row.differences.items()},
                "seed_differences": {
                    name: {
                        other: {figure: found.to_dict() for figure, found in each.items()}
                        for other, each in references.items()
                    }
                    for name, references in row.seed_differences.items()
                },
                "step_ratio": row.step_ratio,
                "step_seconds": row.step_seconds,
                "parameters": row.parameters,
                "macs": row.macs,
                "milliseconds": None if row.milliseconds is None else asdict(row.milliseconds),
                "file_bytes": row.file_bytes,
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
    return finite(document)


def to_csv(rows: Sequence[Row]) -> str:
    """Return the table as CSV: shares not in percent, intervals in columns of their own."""
    columns = columns_of(rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header: list[str] = []
    estimates = {c.key for c in columns if "|" in c.key or c.key == "milliseconds"}
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
    return stream.getvalue()


def _timed_columns(rows: Sequence[Row]) -> list[Column]:
    """Of rows that were timed."""
    if not any(row.milliseconds for row in rows):
        return []
    return [Column("milliseconds", "ms a face", digits=3), Column("file", "file MB", digits=2)]


def _figure_column(name: str, figure: str, label: str) -> Column:
    return figure_column(f"{name}|{figure}", figure, label + _title(figure))


def _plain(estimates: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def _names(mappings: Any) -> list[str]:
    """All keys, in the order in which they are first met."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _title(figure: str) -> str:
    return figure.upper() if figure in ("auc", "eer") else figure.replace("tar@", "TAR@")


def _licence_lines(rows: Sequence[Row]) -> list[str]:
    """Return one line for all rows that are bound alike."""
    alike: dict[str, list[str]] = {}
    for row in rows:
        bound = ", ".join(f"{what} {marked_licence(given)}" for what, given in licences_of(row))
        alike.setdefault(bound, []).append(row.name)
    return [f"- {', '.join(names)}: {bound}" for bound, names in alike.items()]
