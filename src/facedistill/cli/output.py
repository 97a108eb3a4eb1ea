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
