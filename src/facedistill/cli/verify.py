"""`facedistill verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import (
    EmbeddingOutput,
    InputColor,
    InputMean,
    InputSize,
    InputStd,
)
from facedistill.cli.options.network import opened_network
from facedistill.cli.output import echo
from facedistill.core.missing_files import require_present

EXAMPLES = ("facedistill verify one.png other.png --model student.onnx",)


def verify(
    first: Annotated[Path, typer.Argument(help="An aligned crop.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    model: Annotated[Path, typer.Option(help="Model or ONNX file.")],
    threshold: Annotated[
        float | None, typer.Option(help="Least cosine similarity; default: the model file's own.")
    ] = None,
    color: InputColor = None,
    size: InputSize = None,
    mean: InputMean = None,
    std: InputStd = None,
    output: EmbeddingOutput = None,
) -> None:
    """Verify two aligned crops: one score, one decision."""
    require_present(first, second, model)
    from facedistill.evaluation.verify_images import verify_images

    network = opened_network(model, color, size, mean, std, output=output)
    echo(verify_images(network, first, second, threshold).line())
