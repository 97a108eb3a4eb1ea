"""`facedistill identify`."""

from __future__ import annotations

from typing import Annotated

import typer

from facedistill.cli.options.arguments import AsJson
from facedistill.cli.options.detection import DetectorFile
from facedistill.cli.options.photos import (
    Crops,
    Fpir,
    GalleryPath,
    MaxYaw,
    MinScore,
    MinSharpness,
    MinSize,
    Photos,
    Student,
    Threshold,
    opened_reader,
    opened_student,
)
from facedistill.cli.output import echo
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present

EXAMPLES = (
    "facedistill identify holiday.jpg --gallery people.gallery --model student.onnx",
    "facedistill identify album/ --gallery people.gallery --model student.onnx --fpir 0.001 --json",
)


def identify(
    photos: Photos,
    gallery: GalleryPath,
    model: Student,
    fpir: Fpir = None,
    threshold: Threshold = None,
    candidates: Annotated[
        int, typer.Option(min=1, max=100, help="Most similar identities that are named.")
    ] = 3,
    crops: Crops = False,
    detector: DetectorFile = None,
    min_size: MinSize = None,
    min_score: MinScore = None,
    min_sharpness: MinSharpness = None,
    max_yaw: MaxYaw = None,
    as_json: AsJson = False,
) -> None:
    """Identify the faces of photos: who of a gallery is it, or nobody?

    Exit codes: 0 whatever the decisions are (--json has them as `identity`), 2 a mistake or no face
    in any photo.
    """
    if fpir is not None and threshold is not None:
        raise FacedistillError("--threshold is in place of --fpir: give one")
    require_present(*photos, gallery, model)
    from facedistill.runtime.photo_files import photo_files

    paths = photo_files(photos)
    student = opened_student(model)
    reader = opened_reader(student, crops, detector, min_size, min_score, min_sharpness, max_yaw)
    from facedistill.runtime.gallery.fpir_threshold import FPIR, SearchThreshold
    from facedistill.runtime.gallery.gallery import Gallery
    from facedistill.runtime.gallery.identification import identify_photo

    rows = []
    with Gallery.open(gallery, student) as opened:
        limit = (
            opened.threshold(FPIR if fpir is None else fpir)
            if threshold is None
            else SearchThreshold.given(threshold)
        )
        _say_threshold(limit, model)
        for path in paths:
            faces, faults = identify_photo(opened, path, reader, limit, candidates)
            for fault in faults:
                echo(f"warning: left out: {fault}", err=True)
            rows += faces
            if not as_json:
                for face in faces:
                    echo(face.line())
    if as_json:
        echo(json_text([face.to_dict() for face in rows]))
    if not rows:
        raise FacedistillError("no face is found in any of the photos: see above")


def _say_threshold(limit: object, model: object) -> None:
    from facedistill.runtime.gallery.fpir_threshold import SearchThreshold

    if not isinstance(limit, SearchThreshold):
        echo(
            f"warning: {model} has no thresholds, so nothing is decided: give --threshold, or "
            f"measure them with `facedistill evaluate {model} PAIRS --save-thresholds`",
            err=True,
        )
        return
    echo(f"threshold {limit.cosine:.3f}: {limit.source}", err=True)
    if limit.beyond:
        echo(
            "warning: no threshold was measured at so low a rate; a line is drawn on from those "
            "that were; `facedistill evaluate --all-pairs --save-thresholds` measures lower ones",
            err=True,
        )
