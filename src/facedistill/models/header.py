"""The JSON document that facedistill's files carry among their metadata, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facedistill.errors import FacedistillError

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
