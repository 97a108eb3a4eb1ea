"""`facedistill distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import Out, Set
from facedistill.cli.recipe_run import run_recipe

EXAMPLES = (
    "facedistill distill fcd --set data.train=faces --set teacher.bank=bank --out runs/student",
    "facedistill distill my_recipe.yaml --set optimizer.lr=0.05",
)


def distill(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .yaml file.")],
    out: Out = Path("runs/distill"),
    settings: Set = None,
) -> None:
    """A student from a teacher. Run the same command again to continue."""
    run_recipe(recipe, out, settings, with_teacher=True)
