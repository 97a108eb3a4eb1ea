"""Lists of images and their landmarks: CelebA's and WFLW's.

A list has the number of images in its first line, the points' names in its second, then one line an
image: the file's name and 2 P whole or decimal numbers, x and y in pixels of that image, (0, 0) in
the middle of the first pixel. Known are lists of 5, 49, 68 and 98 points. A list of WFLW has
neither of the first two lines, and in each line 196 numbers, often ten more (a rectangle and six
attributes, which are passed over), and the file's name.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_regular
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.faults import Faults
from facedistill.data.formats.image_list import LIST_SUFFIXES, find_files, read_lines
from facedistill.data.formats.landmark_dataset import LandmarkDataset, all_numbers, check_spread
from facedistill.faces.landmarks import FIVE, MARKUPS

FIVE_NAMES = (
    *("lefteye_x", "lefteye_y", "righteye_x", "righteye_y", "nose_x", "nose_y"),
    *("leftmouth_x", "leftmouth_y", "rightmouth_x", "rightmouth_y"),
)
"""CelebA's second line; left and right are as seen in the image."""
WFLW_NUMBERS = (196, 206)
"""In a line of WFLW: those of 98 points, and those and ten more."""

_WFLW_FOLDER = "WFLW_images"
_CELEBA_FOLDERS = ("img_align_celeba", "img_celeba")


def read_landmark_list(
    path: str | Path, root: str | Path | None = None, *, five: bool = True, skip: bool = False
) -> LandmarkDataset:
    """Open a list like CelebA's or WFLW's.

    Args:
        path: The list, UTF-8 text.
        root: The folder of the images. By default the first of these that has the first image:
            `img`, `images` or `Img` beside the list, the list's own folder, in CelebA's official
            layout (`Anno/list_landmarks_*.txt`) `Img/img_align_celeba` or `Img/img_celeba`, and in
            WFLW's (`WFLW_annotations/list_98pt_*/list_98pt_*.txt`) `WFLW_images`.
        five: Reduce larger markups to the template's five points.
        skip: Leave out, with a warning, lines whose image is missing.

    Raises:
        FacedistillError: If the file is no such list, has other than the stated number of lines,
            points fall together, or images are missing, each named.
    """
    path = Path(path)
    names, landmarks, first = _read_list(path)
    folder = _image_folder(path, names[0], first) if root is None else Path(root)
    numbers = range(first, len(names) + first)
    faults = Faults(str(path))
    files = find_files(path, names, numbers, folder, faults)
    faults.settle(skip)
    there = [place for place, file in enumerate(files) if file]
    return LandmarkDataset(
        str(path),
        [files[place] for place in there],
        landmarks[there],
        [f"{path} line {numbers[place]}" for place in there],
        five=five,
    )


def is_landmark_list(path: str | Path) -> bool:
    """Tell a list like CelebA's or WFLW's by its first lines, which no list of labels has."""
    try:
        with open_regular(path) as file:
            lines = file.read(8192).decode("utf-8-sig", "replace").splitlines()
    except OSError:
        return False
    fields = [line.split() for line in islice(lines, 4)]
    return _is_wflw(fields) or any(
        len(row) - 1 in [2 * points for points in MARKUPS] and all_numbers(row[1:])
        for row in fields
    )


def _read_list(path: Path) -> tuple[list[str], np.ndarray, int]:
    """Return the names, the points (N, P, 2), and the number of the first image's line."""
    lines = read_lines(path)
    while lines and not lines[-1].strip():
        lines.pop()
    if _is_wflw([line.split() for line in lines[:1]]):
        return *_read_wflw(path, lines), 1
    points = _points_named(path, lines)
    rows = lines[2:]
    stated = lines[0].strip(" \t\r")  # What else Python strips, int() may refuse.
    if not re.fullmatch(r"[0-9]{1,9}", stated) or int(stated) != len(rows):
        raise FacedistillError(
            f"{path} line 1: {stated[:40]!r} is not the number of images, and "
            f"{len(rows):,} lines of images follow: the list is damaged or cut short"
        )
    if not rows:
        raise FacedistillError(f"{path}: the list names no images")
    names, landmarks = [], []
    for index, row in enumerate(rows):
        name, *numbers = row.strip().rsplit(maxsplit=2 * points) or [""]
        if len(numbers) != 2 * points or not all_numbers(numbers) or not _is_name(name):
            raise FacedistillError(
                f"{path} line {index + 3}: {row.strip()[:80]!r} is not an image's name and "
                f"{2 * points} numbers"
            )
        names.append(name)
        landmarks.append(np.array(numbers, np.float64).reshape(points, 2))
        check_spread(landmarks[-1], f"{path} line {index + 3}")
    return names, np.stack(landmarks), 3


def _is_wflw(rows: list[list[str]]) -> bool:
    """Whether the first line is one of WFLW: numbers, and at the end a name."""
    return bool(rows) and len(rows[0]) - 1 in WFLW_NUMBERS and all_numbers(rows[0][:-1])


def _read_wflw(path: Path, lines: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the names and the points (N, 98, 2) of a list of WFLW."""
    count = len(lines[0].split()) - 1
    names, landmarks = [], []
    for number, row in enumerate(lines, 1):
        *numbers, name = row.strip().split(maxsplit=count) or [""]
        if len(numbers) != count or not all_numbers(numbers) or not _is_name(name):
            raise FacedistillError(
                f"{path} line {number}: {row.strip()[:80]!r} is not {count} numbers and an image's "
                "name, as the first line is"
            )
        names.append(name)
        landmarks.append(np.array(numbers[: WFLW_NUMBERS[0]], np.float64).reshape(-1, 2))
        check_spread(landmarks[-1], f"{path} line {number}")
    return names, np.stack(landmarks)


def _points_named(path: Path, lines: list[str]) -> int:
    """Return how many points the second line names."""
    names = lines[1].lower().split() if len(lines) > 1 else []
    points = len(names) // 2
    if points == FIVE and tuple(names) == FIVE_NAMES:
        return points
    alternate = all(name.endswith(("_x", "_y")[place % 2]) for place, name in enumerate(names))
    if points != FIVE and len(names) == 2 * points and points in MARKUPS and alternate:
        return points
    raise FacedistillError(
        f"{path} line 2: the points' names must be `{' '.join(FIVE_NAMES)}`, or as many `..._x "
        f"..._y` as one of the markups of {', '.join(map(str, MARKUPS[1:]))} points has"
    )


def _is_name(name: str) -> bool:
    return bool(name) and "\0" not in name and not all_numbers(name.split()[-1:])


def _image_folder(path: Path, name: str, line: int) -> Path:
    beside, above = path.parent, path.parent.parent
    # The aligned release's list goes with its images, which bear the same names as the photographs.
    official = _CELEBA_FOLDERS if "align" in path.name else _CELEBA_FOLDERS[::-1]
    tried = [
        *(beside / folder for folder in ("img", "images", "Img")),
        beside,
        *(base / folder for folder in official for base in (above / "Img", beside)),
        *(base / _WFLW_FOLDER for base in (beside, above, above.parent)),
    ]
    for folder in tried:
        # Unlike Path, takes a name too long for the system for one that is not there.
        if os.path.isfile(os.path.join(folder, name)):  # noqa: PTH113, PTH118
            return folder
    raise FacedistillError(
        f"{path} line {line}: no image {name} in {', '.join(map(str, tried[:4]))}, nor in "
        f"{above / 'Img'}: put the images in `img` beside the list"
    )


def _is_list(source: str) -> bool:
    path = Path(source)
    return path.suffix.lower() in LIST_SUFFIXES and path.is_file() and is_landmark_list(path)


def _open(source: str, options: FormatOptions) -> LandmarkDataset:
    return read_landmark_list(source, options.root, five=options.five, skip=options.skip)


register(
    Format(
        "landmark_list",
        "images with landmarks",
        "A list of images and their landmarks, as those of CelebA and WFLW.",
        recognises=_is_list,
        open=_open,
        lists=True,
        landmarks=_is_list,
        order=40,
    )
)
