"""The shape of a procedural head: a radius for every direction, and hair on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from facedistill.faces.synthetic.head_chart import (
    AXIS,
    CELLS,
    CHART_U,
    CHART_V,
    DIRECTIONS,
    EDGE,
    FOLD,
    SPAN,
    bell,
    chart_directions,
    soft_step,
)
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.traits import Identity

_LEVELS = np.linspace(-1.0, 1.0, 512)
_SMOOTHING = np.exp(-0.5 * np.square((_LEVELS[:, None] - _LEVELS[None, :]) / 0.11))
_SMOOTHING = (_SMOOTHING / _SMOOTHING.sum(axis=1, keepdims=True)).astype(np.float32)
_LEVEL_OF_CELL = np.rint((DIRECTIONS[1] + 1) * 255.5).astype(np.intp)
_CORNERS = 4 * np.square(DIRECTIONS[0] * DIRECTIONS[1])
_CRANIUM_CORNERS = np.where(DIRECTIONS[1] < 0, _CORNERS, 0)
_JAW_CORNERS = np.where(DIRECTIONS[1] > 0, _CORNERS, 0)


@dataclass(frozen=True)
class Features:
    """Where an identity's features lie on the chart under an expression; `landmarks` follow."""

    eye_u: float
    eye_v: float
    eye_slant: float
    nose_u: float
    nose_v: float
    mouth_u: float
    mouth_v: float
    mouth_half: float
    mouth_gap: float
    corner_v: float
    """How far the mouth's corners lie below its middle."""
    corner_slant: float

    @classmethod
    def of(cls, identity: Identity, nuisance: Nuisance) -> Features:
        """Place the features."""
        gap = 0.14 * nuisance.mouth_open
        return cls(
            eye_u=identity.eye_spacing,
            eye_v=identity.eye_level,
            eye_slant=identity.eye_slant,
            nose_u=identity.nose_shift,
            nose_v=identity.nose_level,
            mouth_u=identity.mouth_shift + 0.5 * identity.nose_shift,
            mouth_v=identity.mouth_level + 0.35 * gap,
            mouth_half=identity.mouth_width
            * (1 + 0.22 * nuisance.smile - 0.2 * nuisance.mouth_open),
            mouth_gap=gap,
            corner_v=identity.mouth_curve - 0.055 * nuisance.smile,
            corner_slant=identity.mouth_slant,
        )

    @cached_property
    def landmarks(self) -> np.ndarray:
        """Chart coordinates (5, 2) of left eye, right eye, nose tip, left and right corner."""
        corner_v = self.mouth_v + self.corner_v
        return np.array(
            [
                [-self.eye_u, self.eye_v - self.eye_slant],
                [self.eye_u, self.eye_v + self.eye_slant],
                [self.nose_u, self.nose_v],
                [self.mouth_u - self.mouth_half, corner_v - self.corner_slant],
                [self.mouth_u + self.mouth_half, corner_v + self.corner_slant],
            ]
        )


def skin_radius(identity: Identity, nuisance: Nuisance, features: Features) -> np.ndarray:
    """Return the radius map (CELLS, CELLS) in decimetres of the bald head, ears included."""
    chin = identity.chin_height + 0.6 * features.mouth_gap
    at_chin = _elevation(chin)
    width = _profile(
        [-1.0, -0.65, -0.1, 0.4, at_chin - 0.08, 1.0],
        [
            identity.temple_width,
            identity.temple_width,
            identity.cheekbone_width,
            0.5 * identity.cheekbone_width + 0.5 * identity.jaw_width,
            identity.jaw_width,
            0.75 * identity.jaw_width,
        ],
    )
    depth = _profile(
        [-0.8, -0.5, -0.15, 0.5, at_chin, 1.0],
        [
            identity.face_depth - 0.02,
            identity.face_depth + identity.forehead_bulge,
            identity.face_depth,
            identity.face_depth - 0.03,
            identity.face_depth - 0.02,
            0.75,
        ],
    )
    height = _profile(
        [-0.35, 0.25, at_chin, at_chin + 0.12, 1.0],
        [identity.cranium_height, 1.55, 1.60, 1.05, 0.80],
    )
    x, y, z = DIRECTIONS
    inverse_square = np.square(x / width)
    inverse_square += np.square(y / height)
    inverse_square += np.square(z / depth)
    radius = 1.0 / np.sqrt(inverse_square)
    radius += identity.cranium_squareness * _CRANIUM_CORNERS
    radius += identity.jaw_squareness * _JAW_CORNERS
    radius += _bumps(_relief(identity, nuisance, features, chin))
    return radius.astype(np.float32)


def _elevation(v: float) -> float:
    """Return y / |p| of the point (0, v) of the chart."""
    return 2 * v / SPAN / (1 + (v / SPAN) ** 2)


def _profile(elevations: list[float], values: list[float]) -> np.ndarray:
    """Return a map (CELLS, CELLS) that follows values from top to bottom, smoothed."""
    curve = np.interp(_LEVELS, elevations, values).astype(np.float32)
    return (_SMOOTHING @ curve)[_LEVEL_OF_CELL]


_ROWS_OF_ONE_THREAD = 48

Bump = tuple[float, float, float, float, float]
"""Height, centre u, centre v, width in u, width in v: a Gaussian, decimetres."""


def _bumps(bumps: list[Bump]) -> np.ndarray:
    """Return the sum of Gaussians: each is an outer product, so all are one matrix product.

    It is taken some rows at a time: larger products are split among threads, which rounds otherwise
    for every number of threads, and a face is the same in whatever process it is drawn.
    """
    height, u, v, wide, high = np.array(bumps, dtype=np.float32).T
    across = np.exp(-0.5 * np.square((AXIS[None, :] - u[:, None]) / wide[:, None]))
    down = np.exp(-0.5 * np.square((AXIS[None, :] - v[:, None]) / high[:, None]))
    weighted = (down * height[:, None]).T
    rows = range(0, len(weighted), _ROWS_OF_ONE_THREAD)
    return np.concatenate([weighted[row : row + _ROWS_OF_ONE_THREAD] @ across for row in rows])


def _relief(identity: Identity, nuisance: Nuisance, at: Features, chin: float) -> list[Bump]:
    smile = max(nuisance.smile, 0.0)
    nose = at.nose_u
    top = at.eye_v
    length = at.nose_v - top
    ear = identity.ear_protrusion * (0.3 if identity.has_long_hair else 1.0)
    bumps: list[Bump] = [
        # Nose: bridge, its middle, tip, and the dip under the tip.
        (identity.bridge_height, 0.3 * nose, top + 0.02, identity.bridge_width, 0.13),
        (
            0.45 * (identity.bridge_height + identity.nose_height) + identity.nose_hump,
            0.6 * nose,
            top + 0.52 * length,
            0.9 * identity.bridge_width + 0.005,
            0.24 * length + 0.02,
        ),
        (identity.nose_height, nose, at.nose_v - 0.005, identity.nose_tip_width, 0.075),
        (-0.3 * identity.nose_height, nose, at.nose_v + 0.17, 0.09, 0.05),
        # Mouth.
        (identity.mouth_bulge + 0.02, at.mouth_u, at.mouth_v, 0.24, 0.15),
        (0.35 * identity.upper_lip, at.mouth_u, at.mouth_v - 0.5 * identity.upper_lip, 0.13, 0.035),
        (0.45 * identity.lower_lip, at.mouth_u, at.mouth_v + 0.6 * identity.lower_lip, 0.13, 0.045),
        (-0.05, at.mouth_u, at.mouth_v + identity.lower_lip + 0.07, 0.16, 0.05),
        (-0.10 * nuisance.mouth_open, at.mouth_u, at.mouth_v, 0.12, 0.05),
        # Chin.
        (identity.chin_bulge, at.mouth_u * 0.5, chin - 0.1, identity.chin_width, 0.10),
        (-0.8 * identity.chin_cleft, at.mouth_u * 0.5, chin - 0.08, 0.025, 0.06),
        # Folded brow line between the eyes.
        (-0.03, 0.0, top + 0.02, 0.05, 0.04),
    ]
    for side in (-1.0, 1.0):
        eye_u, eye_v = side * at.eye_u, top + side * at.eye_slant
        brow_v = eye_v - identity.brow_height - 0.03 * nuisance.brow_raise
        bumps += [
            (
                0.35 * identity.nose_height,
                nose + side * 0.62 * identity.nose_width,
                at.nose_v + 0.045,
                0.042,
                0.05,
            ),
            (-identity.eye_depth - 0.02, eye_u - side * 0.06, eye_v, 0.17, 0.10),
            (0.045, eye_u, eye_v, 0.085, 0.065),
            (-0.02, eye_u, eye_v + 0.13, 0.10, 0.04),
            (identity.brow_ridge, side * 0.24, brow_v, 0.17, 0.06),
            (identity.cheekbone_bulge + 0.04 * smile, side * 0.46, 0.10 - 0.03 * smile, 0.17, 0.12),
            (identity.cheek_fullness, side * 0.46, 0.42, 0.20, 0.20),
            (-0.05 * smile, at.mouth_u + side * (at.mouth_half + 0.05), at.mouth_v, 0.05, 0.12),
            (ear, side * 1.72, identity.ear_level, 0.19, identity.ear_size),
            (-0.4 * ear, side * 1.50, identity.ear_level, 0.08, 0.6 * identity.ear_size),
        ]
    return bumps


def hair_cover(identity: Identity, nuisance: Nuisance, grain: np.ndarray) -> np.ndarray:
    """Return how much hair covers each cell, 0..1, (CELLS, CELLS).

    Args:
        identity: The traits.
        nuisance: The circumstances of the photograph.
        grain: Strand texture, zero mean, (CELLS, CELLS).
    """
    axis = np.abs(AXIS)
    line = identity.hair_level + nuisance.hair_drop + 0.25 * np.square(np.minimum(axis, 1.0)) ** 2
    line += identity.hair_peak * bell(AXIS, 0.10) - identity.hair_recession * bell(
        axis - 0.45, 0.16
    )
    if identity.fringe > 0:
        drop = identity.fringe * (identity.eye_level - identity.brow_height - identity.hair_level)
        slant = 0.5 + 0.5 * np.tanh(
            3 * identity.fringe_slant * AXIS + 0.9 * (1 - abs(identity.fringe_slant))
        )
        line += max(drop, 0.0) * slant * soft_step(0.85 - axis, 0.3)
    ragged = 0.05 + 0.05 * identity.hair_curl
    top = soft_step(line[None, :] - CHART_V + ragged * grain, 0.09)
    if identity.baldness > 0:
        crown = -0.75 - 0.9 * (1 - identity.baldness)
        top *= soft_step(axis - 0.9 - 0.2 * identity.baldness, 0.25)[None, :] + (
            0.35 * (1 - identity.baldness) * soft_step(crown - CHART_V, 0.3)
        )
        np.clip(top, 0.0, 1.0, out=top)
    reach = 0.05 + (2.6 * identity.hair_length if identity.has_long_hair else 0.0)
    # Short hair leaves the ears free; long hair falls over them and in front of the cheeks.
    side_line = identity.hair_temples + (
        0.0 if identity.has_long_hair else 0.45 * soft_step(AXIS + 0.15, 0.5)
    )
    side_line = side_line + 0.12 * np.square(np.clip(AXIS, 0.0, 1.0))
    side = soft_step(np.abs(CHART_U) - side_line[:, None] + ragged * grain, 0.09)
    side *= soft_step(reach - AXIS, 0.3)[:, None]
    side *= soft_step(AXIS - line.min(), 0.4)[:, None]
    cover = np.maximum(top, side)
    if not identity.has_long_hair:
        ear = (
            bell(axis - 1.66, 0.25)[None, :]
            * bell(AXIS - identity.ear_level - 0.05, 1.1 * identity.ear_size)[:, None]
        )
        cover *= 1 - np.minimum(1.5 * ear, 1.0)
    return cover


def hair_height(
    identity: Identity, nuisance: Nuisance, cover: np.ndarray, grain: np.ndarray
) -> np.ndarray:
    """Return how far the hair stands off the skin, decimetres, (CELLS, CELLS)."""
    lift = (1 + nuisance.hair_lift) * (1 - 0.8 * identity.baldness)
    over = soft_step(-0.5 - AXIS, 1.2)
    volume = 0.015 + lift * (identity.hair_volume * over + identity.hair_sides * (1 - over))
    volume += 0.45 * identity.hair_length * soft_step(AXIS - 0.7, 1.2)
    thickness = volume[:, None] + (0.008 + 0.025 * identity.hair_curl) * lift * grain * bell(
        AXIS, 1.1
    )
    return cv2.blur(cover, (7, 7)) * thickness


def surface_points(radius: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Return the points (N, 3) in head space at chart coordinates (N, 2)."""
    folded = chart / (1 + FOLD * np.abs(chart))
    cells = (folded / EDGE + 1) * (CELLS - 1) / 2
    low = np.clip(np.floor(cells).astype(int), 0, CELLS - 2)
    x, y = (cells - low).T
    column, row = low.T
    met = (1 - y) * ((1 - x) * radius[row, column] + x * radius[row, column + 1])
    met += y * ((1 - x) * radius[row + 1, column] + x * radius[row + 1, column + 1])
    return (chart_directions(*chart.T) * met).T


def surface_normals(radius: np.ndarray) -> np.ndarray:
    """Return the outward unit normals (3, CELLS, CELLS) of a radius map, in head space."""
    point = DIRECTIONS * radius
    along = np.empty_like(point)
    down = np.empty_like(point)
    along[:, :, 1:-1] = point[:, :, 2:] - point[:, :, :-2]
    along[:, :, 0], along[:, :, -1] = along[:, :, 1], along[:, :, -2]
    down[:, 1:-1] = point[:, 2:] - point[:, :-2]
    down[:, 0], down[:, -1] = down[:, 1], down[:, -2]
    normal = np.empty_like(point)
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        normal[axis] = along[one] * down[two] - along[two] * down[one]
    normal /= np.sqrt(np.square(normal).sum(axis=0)) + 1e-9
    return normal
