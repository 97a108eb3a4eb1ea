"""`facedistill inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import AsJson, EmbeddingOutput, Overwrite, Root, Skip
from facedistill.cli.options.detection import Detect, DetectorFile, opened_detector
from facedistill.cli.output import check_sheet, echo, echo_next, print_mapping
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present

EXAMPLES = (
    "facedistill inspect faces --sheet sheet.png",
    "facedistill inspect photos/ --detect --sheet faces.png",
    "facedistill inspect bank --neighbours --json",
)


def inspect(
    source: Annotated[
        str, typer.Argument(help="Data set, .bin pairs, bank, model file, or run's folder.")
    ],
    as_json: AsJson = False,
    root: Root = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a figure of sample faces.")] = None,
    verify: Annotated[bool, typer.Option(help="Check every image, or its checksum.")] = False,
    skip: Skip = False,
    neighbours: Annotated[
        bool, typer.Option("--neighbours", help="Of a bank: identities that its teacher confuses.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="With --neighbours: the faces, where they were moved.")
    ] = None,
    same: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="With --neighbours: cosine similarity of two identities that are likely one; "
            "default: 0.7.",
        ),
    ] = None,
    far: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="With --neighbours: cosine similarity of an image likely mislabelled; default: "
            "0.2.",
        ),
    ] = None,
    detect: Detect = False,
    detector: DetectorFile = None,
    output: EmbeddingOutput = None,
    overwrite: Overwrite = False,
) -> None:
    """What is in this file? Counts, sizes, labels, parameters, metadata, a sheet of samples."""
    check_sheet(sheet, overwrite, source)
    if neighbours:
        if detect:
            raise FacedistillError("--neighbours asks a bank, --detect photos: ask one at a time")
        if verify:
            raise FacedistillError("--neighbours and --verify are two questions: ask one at a time")
        require_present(source, data)
        from facedistill.report.documents.confusion import (
            FAR_BELOW,
            SAME_ABOVE,
            inspect_confusion,
        )

        confusion = inspect_confusion(
            source,
            data,
            sheet=sheet,
            same_above=SAME_ABOVE if same is None else same,
            far_below=FAR_BELOW if far is None else far,
        )
        echo(json_text(confusion.to_dict()) if as_json else confusion.text())
        return
    if data is not None:
        raise FacedistillError("--data goes with --neighbours; to inspect faces, name them alone")
    if same is not None or far is not None:
        raise FacedistillError(f"--{'far' if same is None else 'same'} goes with --neighbours")
    require_present(source, root)
    finds = opened_detector(detect, detector)
    from facedistill.report.documents.inspection import inspect_source

    description = inspect_source(
        source, sheet=sheet, verify=verify, output=output, root=root, skip=skip, detector=finds
    )
    print_mapping(description, as_json)
    if not as_json:
        photos = description.get("aligned crops") == "hardly"
        echo_next(_next(source, "photos" if photos else str(description["kind"])))


def _next(source: str, kind: str) -> tuple[str, ...]:
    """Return the command that what was inspected is made for."""
    if kind.startswith("photos"):
        return ("prepare", source, "--detect", "--pack", "--out", "faces")
    if kind == "verification pairs":
        return ("evaluate", "runs/student", source)
    if kind == "bank of teacher embeddings":
        return ("distill", "fcd", "--set", f"teacher.bank={source}", "--set", "data.train=FACES")
    if kind in ("model file", "ONNX network"):
        return ("evaluate", source, "PAIRS.bin")
    if kind.endswith("network"):
        return ("bench", source)
    if kind == "images with landmarks":
        return ("train", "landmarks", "--set", f"data.train={source}", "--out", "runs/landmarks")
    return ("embed", "--teacher", "TEACHER.onnx", "--data", source, "--out", "bank")
