"""Options of commands that find faces in photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.core.errors import FacedistillError

Detect = Annotated[
    bool,
    typer.Option(
        "--detect", help="These are photos, not aligned crops: find the largest face of each."
    ),
]
DetectorFile = Annotated[
    Path | None,
    typer.Option(
        "--detector", metavar="FILE", help="A YuNet file; default: what `fetch yunet` got."
    ),
]


def opened_detector(detect: bool, detector: Path | None) -> Any:
    """Return the detector of a command that takes photos; None where it takes crops.

    Raises:
        FacedistillError: If there is none, or one is named and photos are not.
    """
    if not detect:
        if detector is not None:
            raise FacedistillError("--detector goes with --detect")
        return None
    from facedistill.runtime.detection import FaceDetector

    return FaceDetector(detector)
