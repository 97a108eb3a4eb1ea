"""`facedistill export`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.options.arguments import AsJson, Out, Overwrite
from facedistill.cli.output import echo, echo_next
from facedistill.cli.stopping import stopped_as, written_or_not
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_outside

EXAMPLES = (
    "facedistill export runs/student --out student.onnx",
    "facedistill export runs/student --out student.xml",
    "facedistill export runs/student --target onnx-int8 --data faces --out int8.onnx",
)


class InputKind(StrEnum):
    """What an exported file takes."""

    UINT8 = "uint8"
    FLOAT = "float"


def _standing(out: Path, **_: Any) -> Callable[[], str]:
    return written_or_not(out)


@stopped_as(_standing)
def export(
    model: Annotated[Path, typer.Argument(help="A .safetensors model file, or a run's folder.")],
    out: Out,
    target: Annotated[
        str | None,
        typer.Option(
            help="onnx, onnx-int8, openvino, ncnn, litert, coreml; all: `facedistill list "
            "targets`; default: by the suffix of --out."
        ),
    ] = None,
    input: Annotated[
        InputKind | None,
        typer.Option(help="Take raw uint8 NHWC RGB (default), or float NCHW, normalised."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="dynamic|N",
            help="Faces at a time; default: any number where the target can, else 1.",
        ),
    ] = None,
    normalise: Annotated[bool, typer.Option(help="Give unit embeddings.")] = False,
    opset: Annotated[int | None, typer.Option(help="Of ONNX: 18 or higher.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Faces to compare with torch on, and to calibrate with.")
    ] = None,
    calibration: Annotated[
        int | None, typer.Option(min=1, help="Faces to calibrate integers with; default: 512.")
    ] = None,
    pairs: Annotated[
        str | None, typer.Option(help="Verification pairs to compare the accuracy on.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """A student as a file for the device, compared with torch before it is written."""
    from facedistill.export.target import target_named, target_of

    target = target_of(out).name if target is None else target
    options = target_named(target).options(
        input=input.value if input else None, batch=batch, normalise=normalise, opset=opset
    )
    require_present(model, data, pairs)
    require_outside(out, data, pairs)

    from facedistill.data.open import open_dataset
    from facedistill.data.pairs.open_pairs import open_pairs
    from facedistill.export.export import export_network
    from facedistill.models.files.model_file import load_model

    report = export_network(
        load_model(model),
        out,
        target,
        options,
        faces=open_dataset(data, relabel=True) if data else None,
        calibration=calibration,
        pairs=open_pairs(pairs) if pairs else None,
        overwrite=overwrite,
    )
    if as_json:
        echo(json_text(report.to_dict()))
        return
    echo(f"{report.line()}\nwrote {report.path}")
    echo_next(("bench", model, out))
