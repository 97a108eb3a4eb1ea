"""The part of an image that a mask can touch, in the template's coordinates."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.alignment import (
    ARCFACE_SIZE,
    ARCFACE_TEMPLATE,
    similarity_transform,
    template,
    transform_points,
)

MIDDLE = 56.0

REACH = (44.0, 142.0)
"""Highest and lowest y that a mask can touch."""


class MaskFrame(NamedTuple):
    """The part of an image that a mask can touch, in the template's coordinates.

    Attributes:
        rows: Of the part.
        columns: Of the part.
        x: float32 (h, w), pixels of a 112-pixel crop right of the middle of an upright face.
        y: float32 (h, w), such pixels below the crop's top.
        to_image: (2, 3), from the template's coordinates to pixels of the part.
        scale: Pixels of the image per pixel of a 112-pixel crop.
        face: float64 (5, 2), the landmarks in the template's coordinates.
    """

    rows: slice
    columns: slice
    x: np.ndarray
    y: np.ndarray
    to_image: np.ndarray
    scale: float
    face: np.ndarray

    @classmethod
    def of(cls, height: int, width: int, landmarks: np.ndarray | None) -> MaskFrame:
        """Find the face."""
        if landmarks is None:
            return _template_frame(height, width)
        points = np.asarray(landmarks, np.float64)
        if points.shape != ARCFACE_TEMPLATE.shape:
            raise FacedistillError(f"landmarks of a mask have shape {points.shape}, not (5, 2)")
        return cls.at(height, width, points)

    @classmethod
    def at(cls, height: int, width: int, points: np.ndarray) -> MaskFrame:
        """Take the face with these landmarks."""
        into = similarity_transform(points, ARCFACE_TEMPLATE)
        back = np.linalg.inv(np.vstack([into, [0, 0, 1]]))[:2]
        box = [(x, y) for x in (0, ARCFACE_SIZE) for y in REACH]
        corners = transform_points(np.array(box), back)
        first = np.maximum(np.floor(corners.min(axis=0)), 0)
        last = np.minimum(np.ceil(corners.max(axis=0)), (width - 1, height - 1))
        if (last - first < 3).any():
            raise FacedistillError(
                f"the landmarks of a mask show no face within the {width} x {height} image"
            )
        (left, top), (right, bottom) = first.astype(int).tolist(), last.astype(int).tolist()
        column = np.arange(left, right + 1, dtype=np.float32)
        row = np.arange(top, bottom + 1, dtype=np.float32)[:, None]
        (a, b, c), (d, e, f) = into.tolist()
        return cls(
            rows=slice(top, bottom + 1),
            columns=slice(left, right + 1),
            x=(a * column + (c - MIDDLE)) + b * row,
            y=(d * column + f) + e * row,
            to_image=back - [[0, 0, left], [0, 0, top]],
            scale=float(np.hypot(back[0, 0], back[1, 0])),
            face=transform_points(points, into),
        )


@lru_cache(maxsize=8)
def _template_frame(height: int, width: int) -> MaskFrame:
    """Remember the frame of aligned crops of one size: all faces of a data set share it."""
    side = max(height, width)
    shift = np.array([width - side, height - side]) / 2
    return MaskFrame.at(height, width, template(side) + shift)
