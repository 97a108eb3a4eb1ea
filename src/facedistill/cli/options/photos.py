"""Options of commands that put an exported student to work on photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present

Photos = Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")]
GalleryPath = Annotated[Path, typer.Option("--gallery", "-g", help="The gallery, one file.")]
Student = Annotated[Path, typer.Option("--model", help="A student that `export` wrote (.onnx).")]
Crops = Annotated[
    bool, typer.Option("--crops", help="These are aligned crops, not photos: find no faces.")
]
MinSize = Annotated[
    float | None, typer.Option(help="Least side of a face in pixels of the photo; default: 40.")
]
MinScore = Annotated[float | None, typer.Option(help="The detector's least score; default: 0.6.")]
MinSharpness = Annotated[
    float | None, typer.Option(help="Least variance of the crop's Laplacian; default: 0.")
]
MaxYaw = Annotated[float | None, typer.Option(help="Most degrees turned aside; default: 90, all.")]
Fpir = Annotated[
    float | None,
    typer.Option(
        help="Rate at which faces of nobody in the gallery are taken for somebody; default: 0.01."
    ),
]
Threshold = Annotated[
    float | None, typer.Option(help="Least cosine similarity, in place of --fpir's.")
]


def opened_student(model: Path) -> Any:
    """Open an exported student.

    Raises:
        FacedistillError: If it is a network that was not exported.
    """
    require_present(model)
    if model.is_dir() or model.suffix.lower() == ".safetensors":
        raise FacedistillError(
            f"{model} is no exported student: `facedistill export {model} --out student.onnx` "
            "makes one"
        )
    from facedistill.runtime.recogniser import Recogniser

    return Recogniser.load(model)


def opened_reader(
    student: Any,
    crops: bool,
    detector: Path | None,
    min_size: float | None,
    min_score: float | None,
    min_sharpness: float | None,
    max_yaw: float | None,
) -> Any:
    """Return what gives the faces of photos, within the limits that are given.

    Raises:
        FacedistillError: If there is no detector, or a limit is out of range.
    """
    from facedistill.runtime.face_limits import FaceLimits
    from facedistill.runtime.photo_faces import PhotoReader

    of_detector = {
        "--detector": detector,
        "--min-size": min_size,
        "--min-score": min_score,
        "--max-yaw": max_yaw,
    }
    given = [flag for flag, value in of_detector.items() if value is not None]
    if crops and given:
        raise FacedistillError(f"{given[0]} is for photos: leave out --crops, or it")
    limits = {
        "min_size": min_size,
        "min_score": min_score,
        "min_sharpness": min_sharpness,
        "max_yaw": max_yaw,
    }
    stated = {key: value for key, value in limits.items() if value is not None}
    finds = None
    if not crops:
        from facedistill.runtime.detection import FaceDetector

        finds = FaceDetector(detector)
    return PhotoReader(student.size, finds, FaceLimits(**stated))
