"""`facedistill prepare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from facedistill.cli.options.arguments import Out, Overwrite, Root, Skip
from facedistill.cli.options.detection import DetectorFile
from facedistill.cli.options.network import opened_network
from facedistill.cli.output import check_sheet, echo_next, print_mapping
from facedistill.cli.stopping import AGAIN, stopped_as, written_or_not
from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import require_present
from facedistill.core.output_place import require_not_replaced, require_outside

EXAMPLES = (
    "facedistill prepare photos/ --detect --pack --out faces --sheet sheet.png",
    "facedistill prepare crops/ --pack --out faces",
    "facedistill prepare loose/ --align --model finder.onnx --out faces --sheet sheet.png",
    "facedistill prepare crops/ --split identities=600 --seed 0 --out faces",
)
EVERY = 30
"""Of a video: one frame in so many, about one a second."""


def _standing(
    out: Path, pack: bool, detect: bool, split: str | None, **_: Any
) -> Callable[[], str]:
    if split is not None:
        written = written_or_not(out, out / "split.json")
    else:
        written = written_or_not(out, out / "train.rec" if pack else out)
    if not detect:
        return written

    def standing() -> str:
        from facedistill.experiments.photos.journal import CHUNK, done_chunks

        done = done_chunks(out) * CHUNK
        if not done:
            return written()
        return f"stopped, about {done:,} photos are done: {AGAIN} to go on"

    return standing


@stopped_as(_standing)
def prepare(
    source: Annotated[
        str, typer.Argument(help="Image folder, list, or any other data set; of photos a video.")
    ],
    out: Out,
    detect: Annotated[
        bool, typer.Option("--detect", help="Photos: find the faces, cut them out aligned.")
    ] = False,
    pack: Annotated[bool, typer.Option("--pack", help="Write RecordIO.")] = False,
    align: Annotated[
        bool, typer.Option("--align", help="Warp loose crops to the ArcFace template.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="With --align: a network that finds landmarks.")
    ] = None,
    detector: DetectorFile = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="With --detect: a network that finds landmarks once more.")
    ] = None,
    largest: Annotated[
        bool,
        typer.Option(
            "--largest",
            help="With --detect: of each photo the largest face; the default where photos have "
            "identities.",
        ),
    ] = False,
    central: Annotated[
        bool, typer.Option("--central", help="With --detect: the face nearest to the middle.")
    ] = False,
    all_faces: Annotated[
        bool,
        typer.Option(
            "--all-faces",
            help="With --detect: every face; the default where photos have no identities.",
        ),
    ] = False,
    min_size: Annotated[
        float | None,
        typer.Option(help="With --detect: least side of a face in pixels; default: 40."),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="With --detect: least score, 0..1; default: 0.6.")
    ] = None,
    min_sharpness: Annotated[
        float | None,
        typer.Option(help="With --detect: least variance of the crop's Laplacian; default: 0."),
    ] = None,
    max_yaw: Annotated[
        float | None,
        typer.Option(help="With --detect: most degrees turned aside; default: 90, all."),
    ] = None,
    every: Annotated[
        int | None, typer.Option(help=f"Of a video: one frame in so many; default: {EVERY}.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="With --detect or --align: write a figure of aligned faces."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="identities=N",
            help="Write RecordIO sets train/ and test/ that share no identity; N of the test set, "
            "or a share as 0.1.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --split: which identities; default: 0.")
    ] = None,
    root: Root = None,
    skip: Skip = False,
    relabel: Annotated[bool, typer.Option(help="Close holes in the labels.")] = False,
    size: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=1024,
            help="Resize square crops to this side; with --detect and --align 112.",
        ),
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality of images encoded anew.")] = 95,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read.")] = 2,
    overwrite: Overwrite = False,
) -> None:
    """Make a training set of photos: find and align faces, pack crops, split by identity."""
    if not detect and not pack and not align and split is None:
        raise FacedistillError(
            "say what to do: --detect finds the faces of photos, --align warps loose crops, --pack "
            "writes RecordIO, --split two such sets that share no identity"
        )
    if seed is not None and split is None:
        raise FacedistillError("--seed chooses the identities of --split: give that too")
    limits = {
        "choice": _choice(largest, central, all_faces),
        "min_size": min_size,
        "min_score": min_score,
        "min_sharpness": min_sharpness,
        "max_yaw": max_yaw,
    }
    if align != (model is not None) or (sheet and not align and not detect):
        raise FacedistillError(
            "--align needs --model, a landmark network; --sheet goes with both, or with --detect"
        )
    if detect and (align or relabel):
        raise FacedistillError(
            "--detect aligns the faces itself and numbers the identities anew: leave out --align "
            "and --relabel"
        )
    if not detect and any(
        each is not None for each in (detector, landmarks, every, *limits.values())
    ):
        raise FacedistillError(
            "--detector, --landmarks, --every, --largest and the limits of faces go with --detect"
        )
    require_present(source, root, model, landmarks)
    check_sheet(sheet, overwrite, source)
    require_outside(out, source)
    require_not_replaced(source, out)
    from facedistill.data.identity_split import IdentitySplit

    cut = None if split is None else IdentitySplit.parse(split, seed or 0)
    common = {"split": cut, "overwrite": overwrite, "workers": workers}
    if detect:
        stated = {**limits, "size": size, "quality": quality}
        summary = _from_photos(
            (source, root, every, skip), out, pack, detector, landmarks, stated, sheet, **common
        )
    else:
        summary = _from_crops(
            (source, root, relabel, skip), out, pack, model, size, quality, sheet, **common
        )
    print_mapping(summary)
    faces = out if cut is None else out / "train"
    echo_next(("embed", "--teacher", "TEACHER.onnx", "--data", faces, "--out", "bank"))
    if cut is not None:
        echo_next(("evaluate", "runs/student", out / "test", "--all-pairs"))


def _choice(largest: bool, central: bool, all_faces: bool) -> str | None:
    """Return which faces are asked for; None where nothing is said."""
    asked = {"largest": largest, "central": central, "all": all_faces}
    names = [name for name, wanted in asked.items() if wanted]
    if len(names) > 1:
        raise FacedistillError("--largest, --central and --all-faces exclude each other: give one")
    return names[0] if names else None


def _from_photos(
    photos: tuple[str, Path | None, int | None, bool],
    out: Path,
    pack: bool,
    detector: Path | None,
    landmarks: Path | None,
    stated: dict[str, Any],
    sheet: Path | None,
    **common: Any,
) -> dict[str, Any]:
    """Find faces; `photos` are the source, its root, one frame in how many, whether to skip."""
    from facedistill.experiments.photos.found_faces import Choice, FaceOptions
    from facedistill.experiments.photos.photo_preparation import (
        default_choice,
        open_photos,
        prepare_photos,
    )
    from facedistill.runtime.detection import FaceDetector

    finds = FaceDetector(detector)
    source, root, every, skip = photos
    opened = open_photos(source, root=root, every=EVERY if every is None else every, skip=skip)
    stated = {key: value for key, value in stated.items() if value is not None}
    stated["choice"] = Choice(stated.get("choice", default_choice(opened)))
    return prepare_photos(
        opened,
        out,
        finds,
        FaceOptions(**stated),
        landmarks=landmarks,
        as_records=pack,
        sheet=sheet,
        **common,
    )


def _from_crops(
    crops: tuple[str, Path | None, bool, bool],
    out: Path,
    pack: bool,
    model: Path | None,
    size: int | None,
    quality: int,
    sheet: Path | None,
    **common: Any,
) -> dict[str, Any]:
    """Align or pack; `crops` are the source, its root, and whether to relabel and to skip."""
    from facedistill.data.alignment_check import warn_unless_aligned
    from facedistill.data.damage import naming_all_damaged, without_damaged
    from facedistill.data.identity_split import write_split
    from facedistill.data.open import open_dataset
    from facedistill.data.packing import pack as pack_dataset
    from facedistill.data.packing import require_room

    require_room(out, common["overwrite"])
    source, root, relabel, skip = crops
    dataset = open_dataset(source, relabel=relabel, root=root, skip=skip)
    if skip:
        dataset = without_damaged(dataset, common["workers"])
    with naming_all_damaged(dataset, common["workers"]):
        if model is None:
            warn_unless_aligned(dataset)
            split = common.pop("split")
            made = {"size": size, "quality": quality, **common}
            if split is None:
                return pack_dataset(dataset, out, **made)
            return write_split(dataset, out, split, **made)
        from facedistill.experiments.preparation import prepare_aligned

        return prepare_aligned(
            opened_network(model),
            dataset,
            out,
            size=size,
            quality=quality,
            as_records=pack,
            sheet=sheet,
            **common,
        )
