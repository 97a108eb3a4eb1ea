"""`facedistill list`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from facedistill.cli.arguments import AsJson
from facedistill.cli.output import print_lists

EXAMPLES = ("facedistill list recipes", "facedistill list objectives --import my_objectives")


class Kind(StrEnum):
    """What can be listed."""

    RECIPES = "recipes"
    COMPARISONS = "comparisons"
    NETWORKS = "networks"
    OBJECTIVES = "objectives"
    FORMATS = "formats"
    TARGETS = "targets"


def list_names(
    kind: Annotated[
        Kind | None, typer.Argument(show_default=False, help="What to list; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What there is: recipes, comparisons, networks, objectives, data formats, export targets."""
    from facedistill.experiments.catalogue import describe

    kinds = [kind] if kind else list(Kind)
    print_lists({each.value: describe(each.value) for each in kinds}, as_json)
