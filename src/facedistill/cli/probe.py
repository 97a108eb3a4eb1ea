"""`facedistill probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import AsJson, Set
from facedistill.cli.output import echo
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present

EXAMPLES = (
    "facedistill probe cakd --set teacher.model=runs/swin --set data.train=faces",
    "facedistill probe cakd --set teacher.model=runs/swin --set data.train=faces "
    "--pairs faces/test.bin --json",
)


def probe(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .yaml file.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            help=".bin or folder with pairs.txt, compared across its folds too; default: the "
            "recipe's validation identities."
        ),
    ] = None,
    settings: Set = None,
    as_json: AsJson = False,
) -> None:
    """How much identity is in what an objective compares of the teacher? Before any student."""
    from facedistill.recipe.loading import load_recipe, require_known

    loaded = load_recipe(recipe, settings or [])
    if loaded.teacher is None:
        raise FacedistillError(f"recipe {recipe} has no teacher: give --set teacher.model=")
    require_known([loaded])
    require_present(*loaded.sources(), pairs)
    from facedistill.experiments.probing import probe as measure
    from facedistill.experiments.probing import table

    probed = measure(loaded, pairs, lambda line: echo(line, err=True))
    if as_json:
        echo(json_text({each.name: each.to_dict() for each in probed}))
        return
    echo(table(probed))
    best = max(probed[1:], key=lambda each: each.accuracy)
    echo(
        f"{best.name} tells identities best of what is mapped; to train a student by it: "
        f"facedistill distill {recipe} with the same --set"
    )
