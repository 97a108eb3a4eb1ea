"""One term of the loss in a recipe: its weight, when it is on, and its own options."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from facedistill.recipe.recipe_section import Section, Share


class ObjectiveRecipe(Section):
    """One term of the loss; further keys are the objective's own options."""

    model_config = ConfigDict(extra="allow")

    weight: float | str = Field(
        1.0, description="a number; or `auto:0.3`, the share of the gradient at which it begins"
    )
    of: str | None = Field(None, description="which of `teachers` it learns from")
    start: Share = Field(0.0, description="share of training before which it is off")
    stop: Share = Field(1.0, description="share of training from which it is off")
    warmup: Share = Field(0.0, description="share of training of a linear rise after start")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="of the weight, from the end of warmup to stop"
    )
    final: float = Field(0.0, ge=0, description="factor at the end of linear and cosine")

    @field_validator("weight")
    @classmethod
    def _number_or_share(cls, value: float | str) -> float | str:
        if isinstance(value, str):
            cls._share(value)
        elif not 0 <= value < math.inf:
            raise ValueError(f"{value} is below 0 or no number")
        return value

    @staticmethod
    def _share(weight: str) -> float:
        word, _, share = weight.partition(":")
        if word != "auto" or not re.fullmatch(r"0?\.\d+", share) or not float(share):
            raise ValueError(
                f"'{weight}' is neither a number nor auto:SHARE with a share between 0 and 1"
            )
        return float(share)

    @model_validator(mode="after")
    def _final_of_something(self) -> ObjectiveRecipe:
        if self.schedule == "constant" and "final" in self.model_fields_set and self.final:
            raise ValueError("final is for schedule: linear or cosine")
        return self

    @model_validator(mode="after")
    def _some_time(self) -> ObjectiveRecipe:
        if self.start >= self.stop:
            raise ValueError(f"start {self.start} is not before stop {self.stop}: it is never on")
        return self

    @property
    def factor(self) -> float:
        """The weight as a number: 1 of an automatic one, whose scale is found in training."""
        return 1.0 if isinstance(self.weight, str) else self.weight

    @property
    def share(self) -> float | None:
        """Share of the gradient at which an automatic weight begins."""
        return self._share(self.weight) if isinstance(self.weight, str) else None

    @property
    def arguments(self) -> dict[str, Any]:
        """The objective's own options."""
        return dict(self.model_extra or {})
