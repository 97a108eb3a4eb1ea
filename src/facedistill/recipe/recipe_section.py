"""What every part of a recipe is made of."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)


def _expand_home(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises for ~nobody


PathText = Annotated[str, AfterValidator(_expand_home)]
"""A path, or another name of a data set: `~` at its beginning is the home folder."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A share of training."""


class Section(BaseModel):
    """A part of a recipe; unknown keys are errors, and so are yes and no for numbers.

    Attributes:
        newer: Keys that are written down only where they are set: runs from before these keys were
            known are to be known again by their recipe's hash.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    newer: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _newer_keys_where_they_are_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key not in self.newer or value}

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError(f"{str(value).lower()} is no value for this key")
        return value
