"""`facedistill cluster`."""

from __future__ import annotations

from typing import Annotated

import typer

from facedistill.cli.options.arguments import Out, Overwrite
from facedistill.cli.options.detection import DetectorFile
from facedistill.cli.options.photos import (
    Crops,
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
from facedistill.cli.stopping import stopped_as, written_or_not
from facedistill.core.atomic import require_absent
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_not_replaced, require_outside

EXAMPLES = ("facedistill cluster album/ --model student.onnx --out people",)


@stopped_as(lambda out, **_: written_or_not(out))
def cluster(
    photos: Photos,
    model: Student,
    out: Out,
    threshold: Annotated[
        float | None, typer.Option(help="Least mean cosine similarity that joins two clusters.")
    ] = None,
    crops: Crops = False,
    detector: DetectorFile = None,
    min_size: MinSize = None,
    min_score: MinScore = None,
    min_sharpness: MinSharpness = None,
    max_yaw: MaxYaw = None,
    overwrite: Overwrite = False,
) -> None:
    """Sort the faces of photos by identity: aligned crops, a folder for each.

    Clusters are joined while the mean cosine of their faces reaches a threshold, by default
    one that follows from the model file's own and from how many faces there are.
    """
    require_present(*photos, model)
    require_absent(out, overwrite=overwrite)
    require_outside(out, *photos)
    for each in photos:
        require_not_replaced(each, out)
    from facedistill.runtime.photo_files import photo_files

    paths = photo_files(photos)
    student = opened_student(model)
    reader = opened_reader(student, crops, detector, min_size, min_score, min_sharpness, max_yaw)
    from facedistill.core.progress import track
    from facedistill.runtime.gallery.photo_clusters import cluster_photos

    done = cluster_photos(
        track(paths, "finding faces", total=len(paths), unit="photos"),
        out,
        student,
        reader,
        lambda line: echo(f"warning: {line}", err=True),
        threshold=threshold,
    )
    print_mapping(
        {
            "faces": done.faces,
            "clusters": f"{len(done.sizes):,}, {done.sizes.count(1):,} of them single faces",
            "threshold": f"{done.threshold.cosine:.3f} ({done.threshold.source})",
            "photos without a face": done.refused,
            "written to": str(out),
        }
    )
    echo("call the folders what the identities are called, then enrol them:")
    echo_next(("enrol", out, "--crops", "--gallery", "people.gallery", "--model", model))
