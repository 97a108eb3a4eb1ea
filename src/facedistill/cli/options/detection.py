"""Options of commands that find faces in photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Detect = Annotated[
    bool,
    typer.Option(
        "--detect", help="These are photos, not aligned crops: find the largest face of each."
    ),
]
DetectorFile = Annotated[
    Path | None,
    typer.Option(
        "--detector", metavar="FILE", help="A YuNet file; default: what `fetch yunet` got."
    ),
]
