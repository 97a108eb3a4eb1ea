"""What commands print in the same way."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from facedistill.core.atomic import require_absent
from facedistill.core.errors import FacedistillError, escaped
from facedistill.core.json_text import json_text
from facedistill.core.output_place import require_outside


def echo(text: str, err: bool = False) -> None:
    """Print text; names in it that hold control characters are escaped."""
    typer.echo(escaped(text), err=err)


def check_sheet(sheet: Path | None, overwrite: bool, source: str | Path | None) -> None:
    """Refuse to write a figure over what is there, unless that is asked for, or among the input.

    Raises:
        FacedistillError: If the file is there, or a folder, or would lie in the folder `source`.
    """
    if sheet is None:
        return
    require_outside(sheet, source, give="--sheet")
    if not sheet.is_dir() and sheet.suffix.lower() != ".png":
        raise FacedistillError(
            f"--sheet {sheet}: a sheet is a PNG file: call it {sheet.with_suffix('.png').name}"
        )
    if sheet.is_dir():
        raise FacedistillError(f"--sheet {sheet} is a folder: name the file in it")
    require_absent(sheet, overwrite=overwrite, give="--sheet")


def echo_next(*commands: Sequence[str | Path]) -> None:
    """Print what to type next, a line for each command."""
    for words in commands:
        echo(f"next: facedistill {' '.join(map(_quoted, words))}")


def _quoted(word: str | Path) -> str:
    """Return a word as a shell takes it."""
    return shlex.quote(str(word))


def print_mapping(mapping: dict[str, Any], as_json: bool = False) -> None:
    """Print a line for each key, or JSON."""
    if as_json:
        echo(json_text(mapping))
        return
    width = max(map(len, mapping))
    for key, value in mapping.items():
        echo(f"{key:<{width}}  {in_words(value)}")


def in_words(value: Any) -> str:
    """Return a value as a reader takes it: lists and mappings without signs of code."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        parts = [f"{key} {_within(each)}" for key, each in value.items()]
    elif isinstance(value, list | tuple):
        parts = [_within(each) for each in value]
    else:
        return str(value)
    return ", ".join(parts) or "none"


def _within(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) == 1:
        return _within(value[0])
    inside = in_words(value)
    return f"({inside})" if isinstance(value, Mapping | list | tuple) else inside


def print_lists(lists: dict[str, dict[str, str]], as_json: bool = False) -> None:
    """Print names with their descriptions, a heading before each list, or JSON."""
    if as_json:
        echo(json_text(lists))
        return
    for heading, described in lists.items():
        echo(f"{heading}:")
        width = max(map(len, described), default=0)
        for name, description in described.items():
            echo(f"  {name:<{width}}  {description}".rstrip())
