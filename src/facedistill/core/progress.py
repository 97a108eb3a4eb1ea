"""What the user sees meanwhile: lines, and bars with rate and remaining time.

Bars are silent when standard error is not a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from facedistill.core.errors import escaped

T = TypeVar("T")

Say = Callable[[str], None]
"""Takes one line for the user."""


def say_nothing(line: str) -> None:
    """Discard a line, as processes other than the main one do."""


class _RateColumn(ProgressColumn):
    """How many units a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Return the rate as text."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else "", style="cyan")


@contextmanager
def progress_bar(unit: str) -> Iterator[Progress]:
    """Give a rich progress display whose tasks count `unit`s (say, images).

    Args:
        unit: Name of what is counted, for the rate column.

    Yields:
        A started `rich.progress.Progress`; on a stream that is no terminal it prints nothing.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


def track(items: Iterable[T], description: str, total: int, unit: str) -> Iterator[T]:
    """Iterate over `items` with a progress bar of `total` `unit`s."""
    with progress_bar(unit) as progress:
        task = progress.add_task(escaped(description), total=total, note="")
        for item in items:
            yield item
            progress.advance(task)
