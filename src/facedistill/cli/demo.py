"""`facedistill demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import Out
from facedistill.cli.output import echo

EXAMPLES = ("facedistill demo --quick --out demo",)


def demo(
    out: Out = Path("demo"),
    quick: Annotated[bool, typer.Option(help="A few steps only, to see that it runs.")] = False,
) -> None:
    """The whole story on built-in procedural faces: teacher, student, table, ONNX file."""
    from facedistill.experiments.demo import run_demo

    if not run_demo(out, quick=quick, say=echo):
        raise typer.Exit(1)
