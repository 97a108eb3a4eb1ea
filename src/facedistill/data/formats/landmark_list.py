"""Faces with landmarks: CelebA-style lists, WFLW's, and image folders with `.pts` files (300-W).

A list has the number of images in its first line, the points' names in its second, then one line an
image: the file's name and 2 P whole or decimal numbers, x and y in pixels of that image, (0, 0) in
the middle of the first pixel. Known are lists of 5, 49, 68 and 98 points. A list of WFLW has
neither of the first two lines, and in each line 196 numbers, often ten more (a rectangle and six
attributes, which are passed over), and the file's name. A `.pts` file stands beside its image and
has one face of 49, 68 or 98 points; its pixels count from 1.

Crops are taken as they are. A photograph (not square, or its face smaller than a fifth of it) is
cut to a loose square about the face, black where that reaches over the border. Place and side of
the square are off by as much as a detector's boxes are, always the same for the same landmarks:
cut exactly by them, a face would tell where they are.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.formats.decode import MAX_PIXELS, decode_image, encode_png, image_size
from facedistill.data.formats.image_folder import IMAGE_SUFFIXES, read_image_file
from facedistill.data.formats.image_list import read_lines, require_files
from facedistill.data.labels import UNLABELLED
from facedistill.data.sample import FaceDataset, Sample, content_key
from facedistill.faces.landmarks import FIVE, MARKUPS, reduce_to_five, to_fractions

FIVE_NAMES = (
    *("lefteye_x", "lefteye_y", "righteye_x", "righteye_y", "nose_x", "nose_y"),
    *("leftmouth_x", "leftmouth_y", "rightmouth_x", "rightmouth_y"),
)
"""CelebA's second line; left and right are as seen in the image."""
WFLW_NUMBERS = (196, 206)
"""In a line of WFLW: those of 98 points, and those and ten more."""
PTS_BYTES = 1 << 16
"""Largest .pts file; one of 98 points has four kilobytes."""
SMALL_FACE = 0.2
"""Least extent of the five points in a square image that counts as a crop, as a share of it."""
LOOSE = 2.9
"""Side of the square cut out of a photograph over the extent of the five points; an aligned crop
has 2.75."""
OFF = 0.08
"""How far, in sides and in each direction, the square may be from the middle of the five points."""
SCALES = (0.88, 1.14)
"""Least and largest side of the square over `LOOSE` extents."""
OUTSIDE = 0.5
"""How far outside of an image a landmark may lie, in sides of the image."""

_NUMBER = re.compile(r"[-+]?[0-9]{1,9}(\.[0-9]{0,18})?")
_FOLDERS_TRIED = 8
_WFLW_FOLDER = "WFLW_images"
_CELEBA_FOLDERS = ("img_align_celeba", "img_celeba")


class LandmarkDataset(FaceDataset):
    """Images with landmarks, unlabelled.

    Args:
        name: What to call the data set.
        files: Each sample's image file.
        landmarks: (N, P, 2) in pixels of the files, P one of `MARKUPS`.
        places: Each sample's place for messages, e.g. `list.txt line 7`.
        five: Reduce larger markups to the template's five points.

    Attributes:
        files: As given.
        pixels: float64 (N, P, 2), as given or reduced.
    """

    def __init__(
        self,
        name: str,
        files: list[str],
        landmarks: np.ndarray,
        places: list[str],
        *,
        five: bool = True,
    ) -> None:
        self.name, self.files, self.places = name, files, places
        self.pixels = reduce_to_five(landmarks) if five else landmarks
        self.five = reduce_to_five(landmarks)
        self.labels = np.full(len(files), UNLABELLED, np.int64)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file; a face cut out of a photograph as a PNG file."""
        content = read_image_file(Path(self.files[index]))
        square = self._square(index, image_size(content, self.where(index)))
        if square is None:
            return content
        return encode_png(square.cut(decode_image(content, self.where(index))))

    def where(self, index: int) -> str:
        """Return `image (its place)`."""
        return f"{self.files[index]} ({self.places[index]})"

    def key(self, index: int) -> bytes:
        """Return the key; of a face cut out of a photograph a hash of that and of the place."""
        content = read_image_file(Path(self.files[index]))
        return _key(content, self._square(index, image_size(content, self.where(index))))

    def marks(self, index: int) -> bytes:
        """Return the points as given or reduced."""
        return self.pixels[index].tobytes()

    def __getitem__(self, index: int) -> Sample:
        """Return the crop with its landmarks.

        Raises:
            FacedistillError: If the image does not decode, or the points lie far outside of it.
        """
        content = read_image_file(Path(self.files[index]))
        image = decode_image(content, self.where(index))
        square = self._square(index, image.shape)
        key = _key(content, square)
        if square is None:
            return Sample(image, UNLABELLED, key, to_fractions(self.pixels[index], image.shape))
        crop = square.cut(image)
        points = self.pixels[index] - (square.left, square.top)
        return Sample(crop, UNLABELLED, key, to_fractions(points, crop.shape))

    def _square(self, index: int, shape: tuple[int, ...]) -> Square | None:
        """Where to cut the face out; None where the image is a crop already."""
        size = np.array([shape[1], shape[0]])
        beyond = np.maximum(-self.five[index], self.five[index] - (size - 1)) / size
        if beyond.max() > OUTSIDE:
            raise FacedistillError(
                f"{self.where(index)}: landmarks lie outside of the image of {size[0]} x {size[1]} "
                "pixels: they are of another image, or of another size of it"
            )
        low, high = self.five[index].min(axis=0), self.five[index].max(axis=0)
        extent = float((high - low).max())
        if shape[0] == shape[1] and extent >= SMALL_FACE * shape[0]:
            return None
        right, down, scale = _off(self.five[index])
        side = max(2, round(LOOSE * scale * extent))
        if side * side > MAX_PIXELS:
            raise FacedistillError(
                f"{self.where(index)}: the face is {extent:.0f} pixels large, and a cut of it has "
                f"more than {MAX_PIXELS:,}: make the photograph smaller"
            )
        off = side * np.array([right, down])
        left, top = np.rint((low + high - side + 1) / 2 + off).astype(int).tolist()
        return Square(left, top, side)


@dataclass(frozen=True)
class Square:
    """A square of whole pixels, which may reach over an image's borders.

    Attributes:
        left: Its first column.
        top: Its first row.
        side: Its side.
    """

    left: int
    top: int
    side: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return that part of an image (H, W, 3), black where there is none."""
        crop = np.zeros((self.side, self.side, 3), np.uint8)
        rows, columns = (
            slice(max(start, 0), max(0, min(start + self.side, length)))
            for start, length in ((self.top, image.shape[0]), (self.left, image.shape[1]))
        )
        part = image[rows, columns]
        y, x = rows.start - self.top, columns.start - self.left
        crop[y : y + part.shape[0], x : x + part.shape[1]] = part
        return crop


def _off(landmarks: np.ndarray) -> tuple[float, float, float]:
    """How far a cut is off to the right and downwards, in sides, and the factor of its side."""
    drawn = np.random.default_rng(np.frombuffer(content_key(landmarks.tobytes()), np.uint8))
    right, down = drawn.uniform(-OFF, OFF, 2).tolist()
    return right, down, float(np.exp(drawn.uniform(*np.log(SCALES))))


def _key(content: bytes, square: Square | None) -> bytes:
    return content_key(content + f"{square}".encode() if square else content)


def read_landmark_list(
    path: str | Path, root: str | Path | None = None, *, five: bool = True
) -> LandmarkDataset:
    """Open a list like CelebA's or WFLW's.

    Args:
        path: The list, UTF-8 text.
        root: The folder of the images. By default the first of these that has the first image:
            `img`, `images` or `Img` beside the list, the list's own folder, in CelebA's official
            layout (`Anno/list_landmarks_*.txt`) `Img/img_align_celeba` or `Img/img_celeba`, and in
            WFLW's (`WFLW_annotations/list_98pt_*/list_98pt_*.txt`) `WFLW_images`.
        five: Reduce larger markups to the template's five points.

    Raises:
        FacedistillError: If the file is no such list, has other than the stated number of lines,
            points fall together, or an image is missing.
    """
    path = Path(path)
    names, landmarks, first = _read_list(path)
    folder = _image_folder(path, names[0], first) if root is None else Path(root)
    numbers = range(first, len(names) + first)
    files = [str(folder / name) for name in names]
    require_files(path, files, numbers)
    return LandmarkDataset(
        str(path), files, landmarks, [f"{path} line {number}" for number in numbers], five=five
    )


def is_landmark_list(path: str | Path) -> bool:
    """Tell a list like CelebA's or WFLW's by its first lines, which no list of labels has."""
    try:
        with Path(path).open("rb") as file:
            lines = file.read(8192).decode("utf-8-sig", "replace").splitlines()
    except OSError:
        return False
    fields = [line.split() for line in islice(lines, 4)]
    return _is_wflw(fields) or any(
        len(row) - 1 in [2 * points for points in MARKUPS] and _all_numbers(row[1:])
        for row in fields
    )


def read_pts_folder(root: str | Path, *, five: bool = True) -> LandmarkDataset:
    """Open a folder of images with a `.pts` file beside each; images without one are left out.

    Args:
        root: The folder; its folders are searched too.
        five: Reduce the markup to the template's five points.

    Raises:
        FacedistillError: If there are none, a file is damaged or has no image, or the files differ
            in their number of points.
    """
    root = Path(root)
    marked = sorted(path for path in root.rglob("*.pts") if not path.name.startswith("."))
    if not marked:
        raise FacedistillError(f"{root}: no .pts files there")
    points, files = [], []
    for path in track(marked, f"reading {root.name}", len(marked), "files"):
        points.append(read_pts(path))
        files.append(_image_beside(path))
        if len(points[-1]) != len(points[0]):
            raise FacedistillError(
                f"{path} has {len(points[-1])} points, {marked[0]} has {len(points[0])}: give "
                "folders of one markup"
            )
    return LandmarkDataset(str(root), files, np.stack(points), list(map(str, marked)), five=five)


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
        FacedistillError: If the file is not of that form or its points are fewer or more than said.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
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
    said = int(form[1])
    if said not in MARKUPS or len(rows) != said:
        raise FacedistillError(
            f"{path}: n_points is {said} and there are {len(rows)} points; known are "
            f"{', '.join(map(str, MARKUPS))}"
        )
    for number, row in enumerate(rows):
        if len(row) != 2 or not _all_numbers(row):
            raise FacedistillError(f"{path}: point {number + 1} is {' '.join(row)[:40]!r}, not x y")
    points = np.array(rows, np.float64) - 1
    _check_spread(points, str(path))
    return points


def _read_list(path: Path) -> tuple[list[str], np.ndarray, int]:
    """Return the names, the points (N, P, 2), and the number of the first image's line."""
    lines = read_lines(path)
    while lines and not lines[-1].strip():
        lines.pop()
    if _is_wflw([line.split() for line in lines[:1]]):
        return *_read_wflw(path, lines), 1
    points = _points_named(path, lines)
    rows = lines[2:]
    said = lines[0].strip(" \t\r")  # What else Python strips, int() may refuse.
    if not re.fullmatch(r"[0-9]{1,9}", said) or int(said) != len(rows):
        raise FacedistillError(
            f"{path} line 1: {said[:40]!r} is not the number of images, and "
            f"{len(rows):,} lines of images follow: the list is damaged or cut short"
        )
    if not rows:
        raise FacedistillError(f"{path}: the list names no images")
    names, landmarks = [], []
    for index, row in enumerate(rows):
        name, *numbers = row.strip().rsplit(maxsplit=2 * points) or [""]
        if len(numbers) != 2 * points or not _all_numbers(numbers) or not _is_name(name):
            raise FacedistillError(
                f"{path} line {index + 3}: {row.strip()[:80]!r} is not an image's name and "
                f"{2 * points} numbers"
            )
        names.append(name)
        landmarks.append(np.array(numbers, np.float64).reshape(points, 2))
        _check_spread(landmarks[-1], f"{path} line {index + 3}")
    return names, np.stack(landmarks), 3


def _is_wflw(rows: list[list[str]]) -> bool:
    """Whether the first line is one of WFLW: numbers, and at the end a name."""
    return bool(rows) and len(rows[0]) - 1 in WFLW_NUMBERS and _all_numbers(rows[0][:-1])


def _read_wflw(path: Path, lines: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the names and the points (N, 98, 2) of a list of WFLW."""
    count = len(lines[0].split()) - 1
    names, landmarks = [], []
    for number, row in enumerate(lines, 1):
        *numbers, name = row.strip().split(maxsplit=count) or [""]
        if len(numbers) != count or not _all_numbers(numbers) or not _is_name(name):
            raise FacedistillError(
                f"{path} line {number}: {row.strip()[:80]!r} is not {count} numbers and an image's "
                "name, as the first line is"
            )
        names.append(name)
        landmarks.append(np.array(numbers[: WFLW_NUMBERS[0]], np.float64).reshape(-1, 2))
        _check_spread(landmarks[-1], f"{path} line {number}")
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


def _check_spread(points: np.ndarray, place: str) -> None:
    five = reduce_to_five(points)
    if np.ptp(five, axis=0).max() < 1 or np.linalg.norm(five[0] - five[1]) < 1:
        raise FacedistillError(f"{place}: the landmarks, or the two eyes, fall together")


def _is_name(name: str) -> bool:
    return bool(name) and "\0" not in name and not _all_numbers(name.split()[-1:])


def _all_numbers(fields: list[str]) -> bool:
    return all(_NUMBER.fullmatch(field) for field in fields)


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


def _image_beside(path: Path) -> str:
    for suffix in IMAGE_SUFFIXES:
        image = path.with_suffix(suffix)
        if image.is_file():
            return str(image)
    raise FacedistillError(
        f"{path}: no image {path.stem} ({', '.join(IMAGE_SUFFIXES)}) beside it; remove one or add "
        "the other"
    )
