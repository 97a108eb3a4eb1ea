"""`facedistill verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import (
    AsJson,
    EmbeddingOutput,
    InputColor,
    InputMean,
    InputSize,
    InputStd,
)
from facedistill.cli.options.detection import Detect, DetectorFile, opened_detector
from facedistill.cli.options.network import opened_network
from facedistill.cli.output import echo
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present

EXAMPLES = (
    "facedistill verify one.png other.png --model student.onnx",
    "facedistill verify holiday.jpg passport.jpg --model student.onnx --detect",
)


def verify(
    first: Annotated[Path, typer.Argument(help="An aligned crop; with --detect a photo.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    model: Annotated[Path, typer.Option(help="Model or ONNX file, or a run's folder.")],
    threshold: Annotated[
        float | None, typer.Option(help="Least cosine similarity; default: the model file's own.")
    ] = None,
    detect: Detect = False,
    detector: DetectorFile = None,
    color: InputColor = None,
    size: InputSize = None,
    mean: InputMean = None,
    std: InputStd = None,
    output: EmbeddingOutput = None,
    as_json: AsJson = False,
) -> None:
    """Verify two faces, aligned crops or photos: one score, one decision.

    Exit codes: 0 whatever the decision is (--json has it as `same`), 2 a mistake, 75 stopped.
    """
    require_present(first, second, model)
    finds = opened_detector(detect, detector)
    from facedistill.evaluation.verify_images import verify_images

    network = opened_network(model, color, size, mean, std, output=output)
    verdict = verify_images(network, first, second, threshold, finds)
    echo(json_text(verdict.to_dict()) if as_json else verdict.line())
