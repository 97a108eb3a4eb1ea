"""What commands print in the same way."""

from __future__ import annotations

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
    if sheet.is_dir():
        raise FacedistillError(f"--sheet {sheet} is a folder: name the file in it")
    require_absent(sheet, overwrite=overwrite, give="--sheet")


def print_mapping(mapping: dict[str, Any], as_json: bool = False) -> None:
    """Print a line for each key, or JSON."""
    if as_json:
        echo(json_text(mapping))
        return
    width = max(map(len, mapping))
    for key, value in mapping.items():
        echo(f"{key:<{width}}  {value}")


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
