"""The JSON document that facedistill's files carry among their metadata, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facedistill.core.errors import FacedistillError

HEADER_KEY = "facedistill"
"""The document's entry in the metadata of a model file and of an exported file."""


def parse_exported(text: str, path: Path) -> dict[str, Any]:
    """Return the document that an exported file carries (`export.metadata` lists its keys).

    Args:
        text: JSON.
        path: Where it was found.

    Raises:
        FacedistillError: If it is no JSON object, naming `path`.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FacedistillError(f"{path}: damaged facedistill metadata: {error}") from None
    if not isinstance(document, dict):
        raise FacedistillError(f"{path}: damaged facedistill metadata: not a JSON object")
    return document


def check_thresholds(thresholds: Mapping[str, float]) -> None:
    """Refuse decision thresholds that are none.

    Args:
        thresholds: Least cosine that accepts a pair, by false accept rate.

    Raises:
        ValueError: If a rate is not in 0..1, or a cosine not in -1..1.
    """
    for far, cosine in thresholds.items():
        if not 0 <= float(far) <= 1:
            raise ValueError(f"{far} is no false accept rate")
        if not -1 <= cosine <= 1:
            raise ValueError(f"{cosine:g} at FAR {far} is not a cosine")


def stated_thresholds(document: Mapping[str, Any], path: Path) -> dict[str, float]:
    """Return the decision thresholds in an exported file's document, by false accept rate.

    Args:
        document: As `parse_exported` returns it.
        path: Where it was found.

    Raises:
        FacedistillError: If they are no rates and cosines, naming `path`.
    """
    try:
        stated = document.get("thresholds", {})
        if any(isinstance(cosine, bool | str) for cosine in stated.values()):
            raise ValueError("a cosine that is no number")
        thresholds = {far: float(cosine) for far, cosine in stated.items()}
        check_thresholds(thresholds)
        return thresholds
    except (TypeError, ValueError, AttributeError) as error:
        raise FacedistillError(f"{path}: damaged thresholds: {error}") from None
