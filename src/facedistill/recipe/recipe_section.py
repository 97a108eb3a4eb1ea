"""What every part of a recipe is made of."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator


def _expand_home(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises for ~nobody


PathText = Annotated[str, AfterValidator(_expand_home)]
"""A path, or another name of a data set: `~` at its beginning is the home folder."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A share of training."""


class Section(BaseModel):
    """A part of a recipe; unknown keys are errors, and so are yes and no for numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError(f"{str(value).lower()} is no value for this key")
        return value
