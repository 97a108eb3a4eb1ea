"""Folders of images with a `.pts` file beside each (300-W).

A file has one face of 49, 68 or 98 points; its pixels count from 1.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.core.regular_files import open_regular
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.faults import Faults
from facedistill.data.formats.landmark_dataset import LandmarkDataset, all_numbers, check_spread
from facedistill.faces.landmarks import MARKUPS
from facedistill.runtime.image_file import IMAGE_SUFFIXES

PTS_BYTES = 1 << 16
"""Largest .pts file; one of 98 points has four kilobytes."""

_FOLDERS_TRIED = 8


def read_pts_folder(root: str | Path, *, five: bool = True, skip: bool = False) -> LandmarkDataset:
    """Open a folder of images with a `.pts` file beside each; images without one are left out.

    Args:
        root: The folder; its folders are searched too.
        five: Reduce the markup to the template's five points.
        skip: Leave out, with a warning, files that are damaged or have no image.

    Raises:
        FacedistillError: If there are none, files are damaged or have no image, each named, or the
            files differ in their number of points.
    """
    root = Path(root)
    marked = sorted(path for path in root.rglob("*.pts") if not path.name.startswith("."))
    if not marked:
        raise FacedistillError(f"{root}: no .pts files there")
    points, files, places, faults = [], [], [], Faults(str(root))
    for path in track(marked, f"reading {root.name}", len(marked), "files"):
        try:
            found, image = read_pts(path), _image_beside(path)
        except FacedistillError as error:
            faults.add("landmark files that are damaged or have no image", str(error))
            continue
        points.append(found)
        files.append(image)
        places.append(str(path))
        if len(found) != len(points[0]):
            raise FacedistillError(
                f"{path} has {len(found)} points, {places[0]} has {len(points[0])}: give "
                "folders of one markup"
            )
    faults.settle(skip)
    if not points:
        raise FacedistillError(f"{root}: no .pts file there can be used")
    return LandmarkDataset(str(root), files, np.stack(points), places, five=five)


def has_pts_files(root: str | Path) -> bool:
    """Whether a folder has `.pts` files, or the first of its folders do."""
    below: list[str] = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if entry.name.endswith(".pts"):
                    return True
                if len(below) < _FOLDERS_TRIED and entry.is_dir():
                    below.append(entry.path)
    except OSError:
        return False
    return any(any(Path(folder).glob("*.pts")) for folder in below)


def read_pts(path: str | Path) -> np.ndarray:
    """Read a `.pts` file of 49, 68 or 98 points.

    Args:
        path: Lines `version: 1`, `n_points: 68`, `{`, one `x y` a point, `}`. Pixels count from 1.

    Returns:
        float64 (P, 2), pixels counted from 0.

    Raises:
        FacedistillError: If the file is not of that form, or states another number of points.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            text = file.read(PTS_BYTES + 1).decode("ascii")
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FacedistillError(f"{path}: no .pts file: byte {error.start} is no ASCII") from error
    form = re.fullmatch(
        r"\s*version:\s*1\s+n_points:\s*([0-9]{1,4})\s*\{([-+.\d\s]*)\}\s*", text, re.ASCII
    )
    if form is None or len(text) > PTS_BYTES:
        raise FacedistillError(
            f"{path}: no .pts file: it must be `version: 1`, `n_points: 68` and points in braces"
        )
    rows = [line.split() for line in form[2].splitlines() if line.strip()]
    stated = int(form[1])
    if stated not in MARKUPS or len(rows) != stated:
        raise FacedistillError(
            f"{path}: n_points is {stated} and there are {len(rows)} points; known are "
            f"{', '.join(map(str, MARKUPS))}"
        )
    for number, row in enumerate(rows):
        if len(row) != 2 or not all_numbers(row):
            raise FacedistillError(f"{path}: point {number + 1} is {' '.join(row)[:40]!r}, not x y")
    points = np.array(rows, np.float64) - 1
    check_spread(points, str(path))
    return points


def _image_beside(path: Path) -> str:
    for suffix in IMAGE_SUFFIXES:
        image = path.with_suffix(suffix)
        if image.is_file():
            return str(image)
    raise FacedistillError(
        f"{path}: no image {path.stem} ({', '.join(IMAGE_SUFFIXES)}) beside it; remove one or add "
        "the other"
    )


def _is_pts_folder(source: str) -> bool:
    return Path(source).is_dir() and has_pts_files(source)


def _open(source: str, options: FormatOptions) -> LandmarkDataset:
    return read_pts_folder(source, five=options.five, skip=options.skip)


register(
    Format(
        "pts_folder",
        "images with landmarks",
        "A folder of images with a `.pts` file of 49, 68 or 98 points beside each (300-W).",
        recognises=_is_pts_folder,
        open=_open,
        landmarks=_is_pts_folder,
        order=30,
    )
)
