"""Loose crops into aligned faces on disk, with what was done reported in figures and a sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.identity_split import IdentitySplit, write_split
from facedistill.data.packing import pack
from facedistill.data.views.upright import Upright
from facedistill.evaluation.landmark_locator import Locator
from facedistill.experiments.aligned_crops import (
    align_faces,
    check_names,
    check_place,
    write_crops,
)
from facedistill.report.figures.landmark_figures import aligned_sheet
from facedistill.report.sheet import save_sheet
from facedistill.runtime.alignment import ARCFACE_SIZE
from facedistill.runtime.image_file import JPEG_QUALITY


def prepare_aligned(
    network: Locator,
    source: FaceDataset,
    out: str | Path,
    *,
    size: int | None = None,
    quality: int = JPEG_QUALITY,
    as_records: bool = False,
    split: IdentitySplit | None = None,
    sheet: str | Path | None = None,
    overwrite: bool = False,
    workers: int = 0,
) -> dict[str, Any]:
    """Align faces and write them.

    Args:
        network: Finds landmarks.
        source: Loose crops, which are turned as their EXIF tags ask.
        out: Folder to write.
        size: Side of the aligned crops; 112 by default.
        quality: JPEG quality of the crops.
        as_records: Write RecordIO instead of image files.
        split: Write two RecordIO sets that share no identity instead, see `write_split`.
        sheet: Image file to write, of loose and aligned faces.
        overwrite: Replace what is in `out`.
        workers: How many images are read at a time; for RecordIO, processes that warp and encode.

    Returns:
        JSON-ready: what was written and how the alignment went.

    Raises:
        FacedistillError: See `align_faces` and `pack`.
    """
    if sheet is not None and Path(sheet).is_dir():
        raise FacedistillError(f"--sheet {sheet} is a folder: name the file in it")
    check_place(source, Path(out), split, as_records, overwrite)
    if split is None and not as_records:
        check_names(source)
    faces, report = align_faces(
        network, Upright(source), size or ARCFACE_SIZE, quality=quality, workers=workers
    )
    made: dict[str, Any] = {"quality": quality, "overwrite": overwrite, "workers": workers}
    if split is not None:
        written = write_split(faces, out, split, **made)
    elif as_records:
        written = pack(faces, out, **made)
    else:
        written = write_crops(faces, out, overwrite=overwrite)
    if sheet is not None:
        save_sheet(sheet, aligned_sheet(faces))
        written["sheet"] = str(sheet)
    return {**written, **report.to_dict()}
