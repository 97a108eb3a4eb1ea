"""A grid of a comparison: one row for every combination of choices along some axes."""

from __future__ import annotations

import itertools
import re
from typing import Any

from pydantic import Field, field_validator

from facedistill.core.suggestion import did_you_mean
from facedistill.recipe.recipe_section import Section

_CHOICE = re.compile(r"<([^>]*)>")


class GridRecipe(Section):
    """Rows that differ along axes.

    A row is called GRID-CHOICE-CHOICE..., in the order of the axes. The last two axes are the rows
    and columns of a table; there is one table for every combination of the others.
    """

    recipe: str = Field(description="name of a shipped recipe, or path of a .yaml file")
    settings: list[str] = Field(
        default_factory=list,
        description="of every row; <axis> is the row's choice, ${row} the folder of a row's run",
    )
    axes: dict[str, dict[str, list[str]]] = Field(
        min_length=1, description="axis: {choice: settings}"
    )
    teacher: str | None = Field(None, description="row to print above the table")

    @field_validator("axes", mode="before")
    @classmethod
    def _nothing_to_set(cls, axes: Any) -> Any:
        """`choice:` alone sets nothing."""
        if not isinstance(axes, dict):
            return axes
        return {
            axis: {name: [] if each is None else each for name, each in choices.items()}
            if isinstance(choices, dict)
            else choices
            for axis, choices in axes.items()
        }

    @field_validator("axes")
    @classmethod
    def _some_choice(cls, axes: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
        for axis, choices in axes.items():
            if not choices:
                raise ValueError(f"axis {axis} has no choice")
        return axes

    def cells(self) -> list[tuple[str, ...]]:
        """Return every combination of choices, the last axis fastest."""
        return list(itertools.product(*self.axes.values()))

    def settings_of(self, cell: tuple[str, ...]) -> list[str]:
        """Return the settings of a combination: the grid's, then those of each choice.

        Raises:
            ValueError: If a setting names an axis that is not there.
        """
        chosen = dict(zip(self.axes, cell, strict=True))

        def choice(match: re.Match[str]) -> str:
            if match[1] not in chosen:
                raise ValueError(f"no axis '{match[1]}': {did_you_mean(match[1], chosen)}")
            return chosen[match[1]]

        settings = [*self.settings]
        for axis, name in chosen.items():
            settings += self.axes[axis][name]
        return [_CHOICE.sub(choice, setting) for setting in settings]


def row_name(grid: str, cell: tuple[str, ...]) -> str:
    """Return what the row of a combination is called."""
    return "-".join((grid, *cell))
