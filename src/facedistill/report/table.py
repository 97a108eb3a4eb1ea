"""Tables of results, for the terminal and for Markdown files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facedistill.core.errors import escaped
from facedistill.core.estimate import Estimate

MISSING = "-"
"""What stands where a row has no value."""

_SHARES = ("accuracy", "eer", "tar@", "nme", "failures@")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: Where rows have its values.
        header: What stands above it; the key by default.
        digits: Decimals of floats and estimates.
        percent: Whether floats and estimates are shares, to be shown times 100.
    """

    key: str
    header: str | None = None
    digits: int = 4
    percent: bool = False

    @property
    def title(self) -> str:
        """The header as it is shown."""
        title = self.key if self.header is None else self.header
        return f"{title} %" if self.percent else title

    def text(self, value: Any) -> str:
        """Return a value as the table shows it."""
        scale = 100.0 if self.percent else 1.0
        if value is None:
            return MISSING
        if isinstance(value, Estimate):
            return value.text(self.digits, scale=scale)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int) and not self.percent:
            return f"{value:,}"
        if isinstance(value, float | int):
            return f"{scale * value:.{self.digits}f}"
        return escaped(str(value))

    def is_number(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether all values of the column, as far as they are there, are numbers."""
        values = [row.get(self.key) for row in rows]
        numbers = [
            isinstance(value, int | float | Estimate) for value in values if value is not None
        ]
        return bool(numbers) and all(numbers)


def figure_column(key: str, figure: str, header: str | None = None) -> Column:
    """Return the column of a figure of `table_rows.figures_of`, shares in percent."""
    share = figure.startswith(_SHARES)
    return Column(key, header, digits=2 if share else 4, percent=share)


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str | Column]) -> str:
    """Return a Markdown table without a final line break; columns of numbers are aligned right.

    Args:
        rows: Values by column key; what is missing or None is shown as a dash.
        columns: Keys, or columns with a header and a format.
    """
    chosen = [_column(column) for column in columns]
    rules = ["---:" if column.is_number(rows) else "---" for column in chosen]
    body = [[_cell(column.text(row.get(column.key))) for column in chosen] for row in rows]
    lines = [[_cell(column.title) for column in chosen], rules, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _column(column: str | Column) -> Column:
    return Column(column) if isinstance(column, str) else column


def _cell(text: str) -> str:
    """Return text that stays within one Markdown cell."""
    return " ".join(plain_markdown(text).replace("|", "\\|").split())


def plain_markdown(text: str) -> str:
    """Return text that no reader of Markdown takes for HTML, or a terminal for commands."""
    return escaped(text).replace("&", "&amp;").replace("<", "&lt;")
