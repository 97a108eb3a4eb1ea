"""A mask's outline, shadow and light at every pixel."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.masks.mask_parameters import MaskParameters
from facedistill.runtime.alignment import ARCFACE_TEMPLATE, similarity_transform, template

# Lengths in pixels of a 112-pixel crop, x from its middle, y downwards from its top.
_MIDDLE, _HALF_WIDTH, _BOTTOM, _NOSE_PIECE = 56.0, 41.0, 119.0, 5.0
_CUTS = {"surgical": (5.0, 19.0, 5.0), "kn95": (17.0, 29.0, 7.0), "cloth": (11.0, 23.0, 8.0)}
"""How far the top edge falls to the side, how far the bottom edge rises, the corners' radius."""
_EYE_CLEARANCE, _NOSE_RISE = 10.0, 4.5
"""From the line through the eyes down to the highest cheek of a mask; on the nose it may rise."""


class Cloth:
    """A mask at every pixel that it can touch.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        mask: The mask.
        landmarks: See `render_mask`.

    Attributes:
        part: Rows and columns of the image that the mask can touch.
        cover: float32 (h, w), share of the pixel under the cloth.
        shadow: float32 (h, w), light that the cloth takes from the skin beside it.

    Raises:
        FacedistillError: If landmarks are degenerate or show no face within the image.
    """

    def __init__(
        self, height: int, width: int, mask: MaskParameters, landmarks: np.ndarray | None
    ) -> None:
        if landmarks is None:
            side = max(height, width)
            landmarks = template(side) + (np.array([width, height]) - side) / 2
        self.part, x, y, face, scale = _locate(height, width, np.asarray(landmarks, np.float64))
        turn, moved = float(np.tan(np.deg2rad(mask.tilt))), face - ARCFACE_TEMPLATE
        y += turn * x
        # A turned head shows less of its far cheek: the middle has moved, the sides have not. Both
        # narrow towards the chin.
        middle = _middle(np.clip(moved[:, 0], -14, 14), y)
        half = _HALF_WIDTH * mask.width * (1.19 - y / 375) + np.where(x < middle, middle, -middle)
        self.mask, self.x = mask, x - middle
        self.squared = np.square(self.x / half)
        (left, left_y), (right, right_y) = face[:2].tolist()
        slope = (right_y - left_y) / max(right - left, 10.0)
        eyes = (slope + turn) * x + (left_y - slope * (left - _MIDDLE))
        top, bottom = self._edges(eyes, float(np.clip(moved[3:, 1].mean(), -8, 12)))
        self.down = (y - top) / np.maximum(bottom - top, 1)
        corner = _CUTS[mask.shape][2]
        inner = _smooth_min(y - top, bottom - y, corner)
        self.depth = _smooth_min(inner, half - np.abs(self.x), corner)
        # An edge is as soft as a camera's: a pixel and a half of a 112-pixel crop, or of the image.
        self.cover = np.clip(self.depth / max(1.4, 1.2 / scale) + 0.5, 0, 1)
        self.shadow = 0.3 * np.square(np.clip(1 + self.depth / 3, 0, 1))

    def _edges(self, eyes: np.ndarray, mouth: float) -> tuple[np.ndarray, np.ndarray]:
        """Return y of the top and bottom edge, given that of the eyes and how low the mouth is."""
        mask, (fall, rise, _) = self.mask, _CUTS[self.mask.shape]
        # Nose pieces narrow towards the bridge.
        nose = np.exp(np.square(self.x) * np.float32(-1 / 9.0**2))
        top = 68.5 - 11.5 * mask.nose + fall * self.squared + _NOSE_PIECE * (1 - nose)
        top = np.maximum(top, eyes + _EYE_CLEARANCE - _NOSE_RISE * nose)
        return top, _BOTTOM + 5 * mask.chin + mouth - rise * self.squared

    def stripes(self) -> np.ndarray | None:
        """Return the accent colour's share at each pixel, None for cloth of one colour."""
        if self.mask.texture != "stripes":
            return None
        return np.clip(0.5 + 1.8 * np.sin(2 * np.pi * (6 * self.down + self.mask.phase)), 0, 1)

    def shade(self) -> np.ndarray:
        """Return the light on the cloth's own form: round, hemmed, folded or seamed."""
        shade = 1.06 - 0.20 * self.squared - 0.16 * np.square(self.down)
        shade -= 0.20 * np.exp(np.abs(self.depth) * -0.9)
        shade -= 0.08 * np.exp(np.square(self.depth - 3.2) * -1.2)
        if self.mask.shape == "kn95":
            # Two flat panels meet in a seam and do not catch the same light.
            shade += 0.05 * np.clip(self.x * 0.3, -1, 1) - 0.16 * np.exp(np.square(self.x) * -0.7)
        if self.mask.texture == "pleats":
            # Each fold shades the top of the next; all are sewn flat along both edges.
            place = (self.down + 0.04 * self.squared) * 4 + self.mask.phase
            place -= np.rint(place)
            fold = 0.05 * place - 0.17 * np.exp(np.square(place) * -130)
            fold += 0.06 * np.exp(np.square(place + 0.17) * -90)
            shade *= 1 + np.clip(np.minimum(self.down - 0.1, 0.92 - self.down) * 20, 0, 1) * fold
        return shade


def _locate(
    height: int, width: int, landmarks: np.ndarray
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray, np.ndarray, float]:
    """Find the part of an image that a mask can touch, in the template's coordinates.

    Returns:
        Its rows and columns, x and y of its pixels, the landmarks, and the pixels of the image per
        pixel of a 112-pixel crop.
    """
    if landmarks.shape != ARCFACE_TEMPLATE.shape:
        raise FacedistillError(f"landmarks of a mask have shape {landmarks.shape}, not (5, 2)")
    matrix = similarity_transform(landmarks, ARCFACE_TEMPLATE)
    (a, b, c), (d, e, f) = matrix.tolist()
    column, row = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    x, y = (a * column + (c - _MIDDLE)) + b * row, (d * column + f) + e * row
    inside = (np.abs(x) <= _MIDDLE) & (y >= 44) & (y <= 142)
    left, top, columns, rows = cv2.boundingRect(inside.view(np.uint8))
    if min(columns, rows) < 4:
        raise FacedistillError(
            f"the landmarks of a mask show no face within the {width} x {height} image"
        )
    part = slice(top, top + rows), slice(left, left + columns)
    face = landmarks @ matrix[:, :2].T + matrix[:, 2]
    return part, x[part], y[part], face, 1 / float(np.hypot(a, d))


def _middle(moved: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far right the face's middle line is of an upright frontal one at each pixel's y.

    It goes through the middle of the eyes, the nose and the middle of the mouth: five points that
    have `moved` so far to the right.
    """
    eyes, nose, mouth = (float(part.mean()) for part in np.split(moved, (2, 3)))
    upper, lower = np.clip(y / 20 - 2.6, 0, 1), np.clip(y / 20 - 3.6, 0, 1)
    return eyes + (nose - eyes) * upper + (mouth - nose) * lower


def _smooth_min(one: np.ndarray, other: np.ndarray, radius: float) -> np.ndarray:
    """Return the smaller of two distances, rounded off where they are alike."""
    near = np.maximum(radius - np.abs(one - other), 0)
    return np.minimum(one, other) - near * near * np.float32(0.25 / radius)
