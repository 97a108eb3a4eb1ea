"""JSON that any reader takes: NaN and infinity, which JSON has not, are null."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return plain values as JSON, in ASCII; numbers that are not finite as null.

    Args:
        value: Mappings with text keys, lists, tuples, text, numbers, bools and None.
        indent: Blanks of each level; None for one line.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
