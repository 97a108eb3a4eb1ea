"""Images with landmarks, whatever says where the points are.

Crops are taken as they are. A photograph (not square, or its face smaller than a fifth of it) is
cut to a loose square about the face, black where that reaches over the border. Place and side of
the square are off by as much as a detector's boxes are, always the same for the same landmarks:
cut exactly by them, a face would tell where they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED
from facedistill.data.sample import Sample, content_key
from facedistill.faces.landmarks import reduce_to_five, to_fractions
from facedistill.runtime.image_file import (
    MAX_PIXELS,
    decode_image,
    encode_png,
    image_size,
    read_image_file,
)

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

    kind = "images with landmarks"

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


def check_spread(points: np.ndarray, place: str) -> None:
    """Refuse points that fall together.

    Args:
        points: (P, 2).
        place: Where they are written, for the message.

    Raises:
        FacedistillError: If all do, or the two eyes.
    """
    five = reduce_to_five(points)
    if np.ptp(five, axis=0).max() < 1 or np.linalg.norm(five[0] - five[1]) < 1:
        raise FacedistillError(f"{place}: the landmarks, or the two eyes, fall together")


def all_numbers(fields: list[str]) -> bool:
    """Whether all are decimal numbers of at most nine digits before the point."""
    return all(_NUMBER.fullmatch(field) for field in fields)
