"""JSON that any reader takes: NaN and infinity, which JSON has not, are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return plain values as JSON, in ASCII; numbers that are not finite as null.

    Args:
        value: Mappings with text keys, lists, tuples, text, numbers, bools and None.
        indent: Blanks of each level; None for one line.
    """
    return json.dumps(finite(value), indent=indent, allow_nan=False)


def finite(value: Any) -> Any:
    """Return plain values with None for every number that is not finite; tuples become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value
