"""What commands print in the same way."""

from __future__ import annotations

import json
from typing import Any

import typer


def print_mapping(mapping: dict[str, Any], as_json: bool = False) -> None:
    """Print a line for each key, or JSON."""
    if as_json:
        typer.echo(json.dumps(mapping, indent=2))
        return
    width = max(map(len, mapping))
    for key, value in mapping.items():
        typer.echo(f"{key:<{width}}  {value}")


def print_lists(lists: dict[str, dict[str, str]], as_json: bool = False) -> None:
    """Print names with their descriptions, a heading before each list, or JSON."""
    if as_json:
        typer.echo(json.dumps(lists, indent=2))
        return
    for heading, described in lists.items():
        typer.echo(f"{heading}:")
        width = max(map(len, described), default=0)
        for name, description in described.items():
            typer.echo(f"  {name:<{width}}  {description}".rstrip())
