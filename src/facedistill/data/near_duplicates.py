"""Photos that are nearly the same: one photo resized, or compressed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np

from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset

_SIDE = 16
"""Of the thumbnails that are compared: 256 bits say which of two neighbours is brighter."""

_NEAR = 20
"""Bits in which one photo differs from itself stored anew (JPEG of quality 40: 16 at most of 200);
other faces of CelebA across folds differ in 30 and more."""

_ROWS = 256


def thumbnails(faces: FaceDataset, description: str | None = None) -> np.ndarray:
    """Return what images are compared by, int8 (N, 256) of -1 and 1.

    Args:
        faces: The images.
        description: What a progress bar says; None for no bar.

    Raises:
        FacedistillError: If an image is damaged.
    """
    places: Iterable[int] = range(len(faces))
    if description is not None:
        places = track(places, description, len(faces), "images")
    return np.stack([_thumbnail(faces[index].image) for index in places])


def near_duplicates(
    first: np.ndarray,
    second: np.ndarray,
    among: Callable[[slice], np.ndarray] | None = None,
) -> list[tuple[int, int]]:
    """Return pairs of images whose thumbnails are nearly the same.

    Args:
        first: (N, 256) of one set.
        second: (M, 256) of another, or of the same.
        among: Gives bool (rows, M) for rows of the first: the pairs looked at; all by default.
    """
    # Of vectors of -1 and 1 the product is their length less twice the bits that differ.
    least = first.shape[1] - 2 * _NEAR
    columns = second.T.astype(np.float32)
    found: list[tuple[int, int]] = []
    for start in range(0, len(first), _ROWS):
        rows = slice(start, start + _ROWS)
        near = first[rows].astype(np.float32) @ columns >= least
        if among is not None:
            near &= among(rows)
        found += [(start + int(row), int(column)) for row, column in np.argwhere(near)]
    return found


def _thumbnail(image: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    brighter = small[:, 1:] > small[:, :-1]
    return np.where(brighter, 1, -1).astype(np.int8).ravel()
