"""`facedistill train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import Out, Set
from facedistill.cli.recipe_run import run_recipe

EXAMPLES = (
    "facedistill train arcface --set data.train=faces --set data.licence=own --out runs/teacher",
    "facedistill train my_recipe.yaml --set training.epochs=20",
)


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .yaml file.")],
    out: Out = Path("runs/train"),
    settings: Set = None,
) -> None:
    """A network from labels alone: teachers and baselines. Run again to continue."""
    run_recipe(recipe, out, settings, with_teacher=False)
