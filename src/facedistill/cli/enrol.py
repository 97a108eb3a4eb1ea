"""`facedistill enrol`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from facedistill.cli.options.detection import DetectorFile
from facedistill.cli.options.photos import (
    Crops,
    GalleryPath,
    MaxYaw,
    MinScore,
    MinSharpness,
    MinSize,
    Photos,
    Student,
    opened_reader,
    opened_student,
)
from facedistill.cli.output import echo, echo_next, print_mapping
from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present

EXAMPLES = (
    "facedistill enrol people/ --gallery people.gallery --model student.onnx",
    "facedistill enrol anna1.jpg anna2.jpg --name Anna --gallery people.gallery "
    "--model student.onnx",
)


class Stored(StrEnum):
    """In which embeddings are stored."""

    FLOAT16 = "float16"
    INT8 = "int8"


def enrol(
    photos: Photos,
    gallery: GalleryPath,
    model: Student,
    name: Annotated[
        str | None,
        typer.Option(help="Whose photos these are; default: the name of the folder of each."),
    ] = None,
    crops: Crops = False,
    detector: DetectorFile = None,
    min_size: MinSize = None,
    min_score: MinScore = None,
    min_sharpness: MinSharpness = None,
    max_yaw: MaxYaw = None,
    keep_crops: Annotated[
        bool | None,
        typer.Option(
            "--keep-crops", help="New gallery: keep aligned crops, for `gallery reembed`."
        ),
    ] = None,
    precision: Annotated[
        Stored | None, typer.Option(help="New gallery: of its embeddings; default: float16.")
    ] = None,
) -> None:
    """Enrol identities into a gallery: a folder of photos for each, or one with --name.

    The same command again enrols what is new. A kill loses nothing that was enrolled.
    """
    require_present(*photos, model)
    from facedistill.runtime.photo_files import photos_by_identity

    whose = photos_by_identity(photos, name)
    student = opened_student(model)
    reader = opened_reader(student, crops, detector, min_size, min_score, min_sharpness, max_yaw)
    from facedistill.core.progress import track
    from facedistill.runtime.gallery.enrolment import enrol_photos
    from facedistill.runtime.gallery.gallery import Gallery

    kept: Any = None if precision is None else precision.value
    with Gallery.open_or_make(gallery, student, precision=kept, crops=keep_crops) as opened:
        done = enrol_photos(
            opened,
            track(whose, "enrolling", total=len(whose), unit="identities"),
            reader,
            lambda line: echo(f"warning: {line}", err=True),
        )
        if done.empty:
            echo(f"warning: nothing is enrolled of {', '.join(done.empty)}", err=True)
        if not done.templates and not done.there:
            raise FacedistillError(f"no photo could be enrolled into {gallery}: see above")
        identities = len(opened.file.identities())
        print_mapping(
            {
                "gallery": str(gallery),
                "enrolled": f"{done.templates:,} photos of {done.identities:,} identities",
                "enrolled before": done.there,
                "refused": done.refused,
                "in the gallery": f"{len(opened):,} templates of {identities:,} identities",
            }
        )
    echo_next(("identify", "PHOTO.jpg", "--gallery", gallery, "--model", model))
