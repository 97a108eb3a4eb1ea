"""A mask's outline, shadow, straps and light at every pixel."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.faces.masks.fabric import pleat_light, print_share
from facedistill.faces.masks.mask_frame import MIDDLE, MaskFrame
from facedistill.faces.masks.mask_parameters import MaskParameters
from facedistill.faces.masks.mask_shapes import CUTS, Cut
from facedistill.runtime.alignment import (
    ARCFACE_TEMPLATE,
    transform_points,
)

_EYE_CLEARANCE = 10.0
"""From the line through the eyes down to the highest cheek of a mask; on the nose it may rise."""

_NOSE_RISE = 4.5

_EAR = 48.0
"""From the middle to where a loop disappears behind the ear."""

_EAR_HEIGHTS = (58.0, 70.0)

_FADING = (1.0, 0.88, 0.76, 0.64, 0.52, 0.4)
"""Of a loop, segment by segment from mask to ear."""


class Cloth:
    """A mask at every pixel of a frame.

    Attributes:
        cover: float32 (h, w), share of the pixel under the cloth.
        shadow: float32 (h, w), light that the cloth takes from the skin beside it.
        straps: float32 (h, w), share of the pixel under a strap.
    """

    def __init__(self, frame: MaskFrame, mask: MaskParameters) -> None:
        self.frame, self.mask, cut = frame, mask, CUTS[mask.shape]
        bend = mask.outline
        self.turn = float(np.tan(np.deg2rad(mask.tilt)))
        y = frame.y + self.turn * frame.x
        middle = _middle(frame, y)
        # A turned head shows less of its far cheek: the middle has moved, the sides have not.
        x = frame.x - middle
        half = cut.half_width * mask.width * (1 - (cut.taper / 45) * (y - 70))
        left, right = 1 + 0.04 * bend[4], 1 + 0.04 * bend[5]
        half *= np.where(x < 0, left, right)
        half += np.where(x < 0, middle, -middle)
        u = x / half
        squared = u * u
        top, bottom = self._edges(cut, x, u, squared)
        self.x, self.u, self.squared, self.y = x, u, squared, y
        side = (1 - np.abs(u)) * half
        upper = y - top
        self.down = upper / np.maximum(bottom - top, 1)
        inner = _smooth_min(upper, bottom - y, cut.corner)
        self.depth = _smooth_min(inner, side, cut.corner)
        # An edge is as soft as a camera's: a pixel and a half of a 112-pixel crop, or of the image.
        sharpness = 1 / max(1.4, 1.2 / frame.scale)
        self.cover = np.clip(self.depth * sharpness + 0.5, 0, 1)
        near = np.clip(1 + self.depth / 3, 0, 1)
        self.shadow = 0.3 * near * near
        self.straps = self._straps(cut)

    def _edges(
        self, cut: Cut, x: np.ndarray, u: np.ndarray, squared: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the y of the top and of the bottom edge at each pixel."""
        mask, bend = self.mask, self.mask.outline
        bridge = 68.5 - 11.5 * mask.nose
        # Nose pieces narrow towards the bridge.
        rise = np.exp(x * x * np.float32(-1 / 9.0**2))
        cheek = bridge + cut.bump
        top = cheek + (cut.fall + 2.0 * bend[1] - 4 * (1 - mask.nose)) * squared
        top += (1.6 * bend[0]) * u - cut.bump * rise
        eyes = self.frame.face[:2]
        slope = float(eyes[1, 1] - eyes[0, 1]) / max(float(eyes[1, 0] - eyes[0, 0]), 10.0)
        lowest = float(eyes[0, 1] - slope * (eyes[0, 0] - MIDDLE)) + _EYE_CLEARANCE
        limit = (slope + self.turn) * self.frame.x + lowest
        np.maximum(top, limit - _NOSE_RISE * rise, out=top)
        mouth = float(self.frame.face[3:, 1].mean() - ARCFACE_TEMPLATE[3:, 1].mean())
        mouth = min(max(mouth, -8.0), 12.0)
        bottom = (cut.bottom + 5 * mask.chin + mouth) - (cut.rise + 3 * bend[3]) * squared
        bottom += (2.0 * bend[2]) * u
        return top, bottom

    def _straps(self, cut: Cut) -> np.ndarray:
        """Return the cover of the loops to the ears, fading where hair and ears hide them."""
        layer = np.zeros(self.cover.shape, np.uint8)
        if self.mask.straps:
            width = 1.4 * self.frame.scale
            thickness = max(1, round(width))
            strength = 235 * min(1.0, width / thickness)
            fixed = np.rint(self._loops(cut) * 16).astype(np.int32)
            for place, fade in enumerate(_FADING):
                lines = list(fixed[:, place : place + 2])
                cv2.polylines(layer, lines, False, strength * fade, thickness, cv2.LINE_AA, 4)
        return layer * np.float32(1 / 255)

    def _loops(self, cut: Cut) -> np.ndarray:
        """Return points along the loops from mask to ear, (4, 7, 2) in pixels of the part."""
        half = cut.half_width * self.mask.width - 3
        starts = (68.5 - 11.5 * self.mask.nose + cut.fall + 5, cut.bottom - cut.rise - 4)
        along = np.linspace(0, 1, len(_FADING) + 1)
        out = half + (_EAR - half) * along
        points = np.empty((4, len(along), 2))
        for loop, (start, ear) in enumerate(zip(starts, _EAR_HEIGHTS, strict=True)):
            # Taut, with a little sag.
            points[loop::2, :, 1] = start + (ear - start) * along + 3 * along * (1 - along)
        points[:2, :, 0], points[2:, :, 0] = out, -out
        points[..., 1] -= self.turn * points[..., 0]
        points[..., 0] += MIDDLE
        return transform_points(points, self.frame.to_image)

    def print(self) -> np.ndarray | None:
        """Return the accent colour's share at each pixel, None for cloth of one colour."""
        mask = self.mask
        if mask.texture in ("plain", "pleats"):
            return None
        # The sides are seen at a slant.
        across, along = self.x * (1 + 0.25 * self.squared), 50 * self.down
        return print_share(mask.texture, across, along, mask.period, mask.angle, mask.phase)

    def shade(self) -> np.ndarray:
        """Return the light on the cloth's own form: round, folded, hemmed and creased."""
        mask, depth, down = self.mask, self.depth, self.down
        shade = 1.06 - 0.20 * self.squared - 0.16 * down * down
        shade -= 0.20 * np.exp(np.abs(depth) * -0.9)
        if mask.shape == "kn95":
            # Two flat panels meet in a seam; the folded edge catches light beside it.
            x = self.x
            shade += 0.05 * np.clip(x * 0.3, -1, 1) * (1 if mask.phase < 0.5 else -1)
            shade -= 0.16 * np.exp(x * x * -0.7)
            shade -= _line(depth, 4.0) * 0.08
        elif mask.shape == "cup":
            shade += 0.10 - 0.26 * (self.squared + np.square(2 * down - 0.85))
            shade -= _line(depth, 4.5) * 0.14
        elif mask.shape == "duckbill":
            fold = (down - 0.50 + 0.10 * self.squared) * 30
            shade += 0.06 - 0.15 * np.clip(fold * 0.3 + 0.5, 0, 1)
            shade -= 0.14 * np.exp(np.square(fold - 1.5) * -0.4)
        elif mask.shape == "cloth":
            shade -= _line(depth, 2.6) * 0.10
            if mask.texture == "plain":
                shade -= 0.10 * np.exp(self.x * self.x * -0.6)
        else:
            shade -= _line(depth, 3.2) * 0.07
        if mask.texture == "pleats":
            shade *= pleat_light(down + 0.04 * self.squared, 4.0, mask.phase)
        elif mask.shape in ("surgical", "cloth"):
            wave = 5 * self.u * (1 if mask.phase < 0.5 else -1) + 7 * down + 6.3 * mask.phase
            shade += 0.035 * np.sin(wave + 2 * self.squared)
        return shade


def _middle(frame: MaskFrame, y: np.ndarray) -> np.ndarray:
    """Return how far the face's middle line is from an upright frontal face's, at each pixel.

    Through the middle of the eyes, the nose and the middle of the mouth.
    """
    eyes, nose, mouth = (
        float(np.clip((frame.face[part] - ARCFACE_TEMPLATE[part])[..., 0].mean(), -14, 14))
        for part in (slice(0, 2), slice(2, 3), slice(3, 5))
    )
    if max(map(abs, (eyes, nose, mouth))) < 1e-3:
        return np.zeros_like(y)
    upper = np.clip((y - 52) / 20, 0, 1)
    lower = np.clip((y - 72) / 20, 0, 1)
    return eyes + (nose - eyes) * upper + (mouth - nose) * lower


def _smooth_min(one: np.ndarray, other: np.ndarray, radius: float) -> np.ndarray:
    """Return the smaller of two distances, rounded off where they are alike."""
    near = np.maximum(radius - np.abs(one - other), 0)
    return np.minimum(one, other) - near * near * np.float32(0.25 / radius)


def _line(depth: np.ndarray, place: float) -> np.ndarray:
    """Return a soft line parallel to the edge, 0..1."""
    return np.exp(np.square(depth - place) * -1.2)
