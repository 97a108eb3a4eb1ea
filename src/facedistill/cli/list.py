"""`facedistill list`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from facedistill.cli.options.arguments import AsJson
from facedistill.cli.output import print_lists
from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean

EXAMPLES = ("facedistill list recipes", "facedistill list objectives --import my_objectives")


class Kind(StrEnum):
    """What can be listed."""

    RECIPES = "recipes"
    COMPARISONS = "comparisons"
    NETWORKS = "networks"
    OBJECTIVES = "objectives"
    FORMATS = "formats"
    LAYOUTS = "layouts"
    TARGETS = "targets"


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", show_default=False, help=f"One of {', '.join(Kind)}; default: all."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What there is by name: recipes, networks, objectives, data formats, layouts, targets ..."""
    from facedistill.experiments.catalogue import describe

    if kind is not None and kind not in [*Kind]:
        raise FacedistillError(
            f"nothing of the kind '{kind}' is listed: {did_you_mean(kind, Kind)}"
        )
    kinds = [Kind(kind)] if kind else list(Kind)
    print_lists({each.value: describe(each.value) for each in kinds}, as_json)
