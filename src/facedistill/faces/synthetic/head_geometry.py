"""The geometry of a procedural head: a radius for every direction, seen by a turned camera.

Head space: decimetres, x to the image's right, y downwards, z out of the face; the origin lies
inside the head between the ears, 15 mm below the eyes. The surface is star-shaped about it: one
radius a direction, hair and ears included. Directions are written in a stereographic *chart*
(u, v) = SPAN * (x, y) / (|p| + z), whose unit is about a decimetre in the middle of the face.

Seeing is relief mapping: every pixel's ray walks into the radius map until it meets the surface,
so noses move against eyes and far cheeks vanish behind near ones as they do on photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.traits import Identity
from facedistill.runtime.alignment import ARCFACE_SIZE, similarity_transform, template

SPAN = 1.8
"""Chart units for a stereographic unit: makes chart lengths about decimetres on the face."""
CELLS = 160
"""Cells of the chart's maps a side."""
REACH = 3.6
"""The chart covers |u|, |v| <= REACH: 127 degrees from straight ahead."""
_FOLD = 0.35
"""The maps' cells are finer in the middle: cell coordinate = u / (1 + _FOLD |u|)."""
_EDGE = REACH / (1 + _FOLD * REACH)
_HULL = np.ones((25, 25), dtype=np.uint8)
"""Cells over which the hull takes the largest radius."""
_COARSE_STEPS, _FINE_STEPS = 12, 6
"""Steps of the rays of every second pixel, then of all."""
_FINE_STRIDES = 4
"""Strides in which a ray crosses what its coarse neighbours found."""
_SHORTEST, _LONGEST = 0.06, 0.14
"""Lengths in decimetres of a coarse step: rays get past what they graze and leap over no nose."""
_BEHIND = -2.0
"""Lift (see `Sight`) that lies behind any head."""

_KNOTS = np.linspace(-_EDGE, _EDGE, CELLS)
AXIS = (_KNOTS / (1 - _FOLD * np.abs(_KNOTS))).astype(np.float32)
"""float32 (CELLS,), the chart coordinate of each row or column of the maps."""
CHART_U = np.broadcast_to(AXIS[None, :], (CELLS, CELLS))
CHART_V = np.broadcast_to(AXIS[:, None], (CELLS, CELLS))


def chart_directions(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the unit vectors (3, ...) of chart coordinates."""
    x, y = np.asarray(u) / SPAN, np.asarray(v) / SPAN
    square = x * x + y * y
    return np.stack([2 * x, 2 * y, 1 - square]) / (1 + square)


_DIRECTIONS = chart_directions(CHART_U, CHART_V).astype(np.float32)
_LEVELS = np.linspace(-1.0, 1.0, 512)
_SMOOTHING = np.exp(-0.5 * np.square((_LEVELS[:, None] - _LEVELS[None, :]) / 0.11))
_SMOOTHING = (_SMOOTHING / _SMOOTHING.sum(axis=1, keepdims=True)).astype(np.float32)
_LEVEL_OF_CELL = np.rint((_DIRECTIONS[1] + 1) * 255.5).astype(np.intp)
_CORNERS = 4 * np.square(_DIRECTIONS[0] * _DIRECTIONS[1])
_CRANIUM_CORNERS = np.where(_DIRECTIONS[1] < 0, _CORNERS, 0)
_JAW_CORNERS = np.where(_DIRECTIONS[1] > 0, _CORNERS, 0)


def soft_step(x: np.ndarray, width: float) -> np.ndarray:
    """Return a ramp from 0 to 1 as `x` goes from -width / 2 to width / 2."""
    ramp = x * np.float32(1.0 / width)
    ramp += np.float32(0.5)
    # Two ufuncs with `out` cost half of what np.clip does on windows of a few hundred pixels.
    np.maximum(ramp, 0.0, out=ramp)
    return np.minimum(ramp, 1.0, out=ramp)


def bell(x: np.ndarray, width: float) -> np.ndarray:
    """Return exp(-(x / width)^2 / 2)."""
    square = x * np.float32(1.0 / width)
    square *= square
    square *= np.float32(-0.5)
    return np.exp(square, out=square)


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
    who = identity
    chin = who.chin_height + 0.6 * features.mouth_gap
    at_chin = _elevation(chin)
    width = _profile(
        [-1.0, -0.65, -0.1, 0.4, at_chin - 0.08, 1.0],
        [
            who.temple_width,
            who.temple_width,
            who.cheekbone_width,
            0.5 * who.cheekbone_width + 0.5 * who.jaw_width,
            who.jaw_width,
            0.75 * who.jaw_width,
        ],
    )
    depth = _profile(
        [-0.8, -0.5, -0.15, 0.5, at_chin, 1.0],
        [
            who.face_depth - 0.02,
            who.face_depth + who.forehead_bulge,
            who.face_depth,
            who.face_depth - 0.03,
            who.face_depth - 0.02,
            0.75,
        ],
    )
    height = _profile(
        [-0.35, 0.25, at_chin, at_chin + 0.12, 1.0],
        [who.cranium_height, 1.55, 1.60, 1.05, 0.80],
    )
    x, y, z = _DIRECTIONS
    inverse_square = np.square(x / width)
    inverse_square += np.square(y / height)
    inverse_square += np.square(z / depth)
    radius = 1.0 / np.sqrt(inverse_square)
    radius += who.cranium_squareness * _CRANIUM_CORNERS
    radius += who.jaw_squareness * _JAW_CORNERS
    radius += _bumps(_relief(who, nuisance, features, chin))
    return radius.astype(np.float32)


def _elevation(v: float) -> float:
    """Return y / |p| of the point (0, v) of the chart."""
    return 2 * v / SPAN / (1 + (v / SPAN) ** 2)


def _profile(elevations: list[float], values: list[float]) -> np.ndarray:
    """Return a map (CELLS, CELLS) that follows values from top to bottom, smoothed."""
    curve = np.interp(_LEVELS, elevations, values).astype(np.float32)
    return (_SMOOTHING @ curve)[_LEVEL_OF_CELL]


Bump = tuple[float, float, float, float, float]
"""Height, centre u, centre v, width in u, width in v: a Gaussian, decimetres."""


def _bumps(bumps: list[Bump]) -> np.ndarray:
    """Return the sum of Gaussians: each is an outer product, so all are one matrix product."""
    height, u, v, wide, high = np.array(bumps, dtype=np.float32).T
    across = np.exp(-0.5 * np.square((AXIS[None, :] - u[:, None]) / wide[:, None]))
    down = np.exp(-0.5 * np.square((AXIS[None, :] - v[:, None]) / high[:, None]))
    return (down * height[:, None]).T @ across


def _relief(who: Identity, how: Nuisance, at: Features, chin: float) -> list[Bump]:
    smile = max(how.smile, 0.0)
    nose = at.nose_u
    top = at.eye_v
    length = at.nose_v - top
    ear = who.ear_protrusion * (0.3 if who.has_long_hair else 1.0)
    bumps: list[Bump] = [
        # Nose: bridge, its middle, tip, and the dip under the tip.
        (who.bridge_height, 0.3 * nose, top + 0.02, who.bridge_width, 0.13),
        (
            0.45 * (who.bridge_height + who.nose_height) + who.nose_hump,
            0.6 * nose,
            top + 0.52 * length,
            0.9 * who.bridge_width + 0.005,
            0.24 * length + 0.02,
        ),
        (who.nose_height, nose, at.nose_v - 0.005, who.nose_tip_width, 0.075),
        (-0.3 * who.nose_height, nose, at.nose_v + 0.17, 0.09, 0.05),
        # Mouth.
        (who.mouth_bulge + 0.02, at.mouth_u, at.mouth_v, 0.24, 0.15),
        (0.35 * who.upper_lip, at.mouth_u, at.mouth_v - 0.5 * who.upper_lip, 0.13, 0.035),
        (0.45 * who.lower_lip, at.mouth_u, at.mouth_v + 0.6 * who.lower_lip, 0.13, 0.045),
        (-0.05, at.mouth_u, at.mouth_v + who.lower_lip + 0.07, 0.16, 0.05),
        (-0.10 * how.mouth_open, at.mouth_u, at.mouth_v, 0.12, 0.05),
        # Chin.
        (who.chin_bulge, at.mouth_u * 0.5, chin - 0.1, who.chin_width, 0.10),
        (-0.8 * who.chin_cleft, at.mouth_u * 0.5, chin - 0.08, 0.025, 0.06),
        # Folded brow line between the eyes.
        (-0.03, 0.0, top + 0.02, 0.05, 0.04),
    ]
    for side in (-1.0, 1.0):
        eye_u, eye_v = side * at.eye_u, top + side * at.eye_slant
        brow_v = eye_v - who.brow_height - 0.03 * how.brow_raise
        bumps += [
            (
                0.35 * who.nose_height,
                nose + side * 0.62 * who.nose_width,
                at.nose_v + 0.045,
                0.042,
                0.05,
            ),
            (-who.eye_depth - 0.02, eye_u - side * 0.06, eye_v, 0.17, 0.10),
            (0.045, eye_u, eye_v, 0.085, 0.065),
            (-0.02, eye_u, eye_v + 0.13, 0.10, 0.04),
            (who.brow_ridge, side * 0.24, brow_v, 0.17, 0.06),
            (who.cheekbone_bulge + 0.04 * smile, side * 0.46, 0.10 - 0.03 * smile, 0.17, 0.12),
            (who.cheek_fullness, side * 0.46, 0.42, 0.20, 0.20),
            (-0.05 * smile, at.mouth_u + side * (at.mouth_half + 0.05), at.mouth_v, 0.05, 0.12),
            (ear, side * 1.72, who.ear_level, 0.19, who.ear_size),
            (-0.4 * ear, side * 1.50, who.ear_level, 0.08, 0.6 * who.ear_size),
        ]
    return bumps


def hair_cover(identity: Identity, nuisance: Nuisance, grain: np.ndarray) -> np.ndarray:
    """Return how much hair covers each cell, 0..1, (CELLS, CELLS).

    Args:
        identity: Whose hair.
        nuisance: How it lies today.
        grain: Strand texture, zero mean, (CELLS, CELLS).
    """
    who = identity
    axis = np.abs(AXIS)
    line = who.hair_level + nuisance.hair_drop + 0.25 * np.square(np.minimum(axis, 1.0)) ** 2
    line += who.hair_peak * bell(AXIS, 0.10) - who.hair_recession * bell(axis - 0.45, 0.16)
    if who.fringe > 0:
        drop = who.fringe * (who.eye_level - who.brow_height - who.hair_level)
        slant = 0.5 + 0.5 * np.tanh(3 * who.fringe_slant * AXIS + 0.9 * (1 - abs(who.fringe_slant)))
        line += max(drop, 0.0) * slant * soft_step(0.85 - axis, 0.3)
    ragged = 0.05 + 0.05 * who.hair_curl
    top = soft_step(line[None, :] - CHART_V + ragged * grain, 0.09)
    if who.baldness > 0:
        crown = -0.75 - 0.9 * (1 - who.baldness)
        top *= soft_step(axis - 0.9 - 0.2 * who.baldness, 0.25)[None, :] + (
            0.35 * (1 - who.baldness) * soft_step(crown - CHART_V, 0.3)
        )
        np.clip(top, 0.0, 1.0, out=top)
    reach = 0.05 + (2.6 * who.hair_length if who.has_long_hair else 0.0)
    # Short hair leaves the ears free; long hair falls over them and in front of the cheeks.
    side_line = who.hair_temples + (
        0.0 if who.has_long_hair else 0.45 * soft_step(AXIS + 0.15, 0.5)
    )
    side_line = side_line + 0.12 * np.square(np.clip(AXIS, 0.0, 1.0))
    side = soft_step(np.abs(CHART_U) - side_line[:, None] + ragged * grain, 0.09)
    side *= soft_step(reach - AXIS, 0.3)[:, None]
    side *= soft_step(AXIS - line.min(), 0.4)[:, None]
    cover = np.maximum(top, side)
    if not who.has_long_hair:
        ear = (
            bell(axis - 1.66, 0.25)[None, :]
            * bell(AXIS - who.ear_level - 0.05, 1.1 * who.ear_size)[:, None]
        )
        cover *= 1 - np.minimum(1.5 * ear, 1.0)
    return cover


def hair_height(
    identity: Identity, nuisance: Nuisance, cover: np.ndarray, grain: np.ndarray
) -> np.ndarray:
    """Return how far the hair stands off the skin, decimetres, (CELLS, CELLS)."""
    who = identity
    lift = (1 + nuisance.hair_lift) * (1 - 0.8 * who.baldness)
    over = soft_step(-0.5 - AXIS, 1.2)
    volume = 0.015 + lift * (who.hair_volume * over + who.hair_sides * (1 - over))
    volume += 0.45 * who.hair_length * soft_step(AXIS - 0.7, 1.2)
    thickness = volume[:, None] + (0.008 + 0.025 * who.hair_curl) * lift * grain * bell(AXIS, 1.1)
    return cv2.blur(cover, (7, 7)) * thickness


@dataclass(frozen=True)
class Camera:
    """Where a head stands before the lens and where its picture falls.

    Attributes:
        rotation: float64 (3, 3), head space to camera space.
        distance: Lens to the head's origin, decimetres.
        placement: float64 (2, 3), from the plane through the head's origin to pixels.
    """

    rotation: np.ndarray
    distance: float
    placement: np.ndarray

    @classmethod
    def aligned(cls, nuisance: Nuisance, landmarks: np.ndarray, size: int) -> Camera:
        """Turn the head and place its picture as an aligned crop that misses by the nuisance.

        Args:
            nuisance: Pose and misalignment.
            landmarks: (5, 3) in head space.
            size: Side of the crop in pixels.
        """
        rotation = pose(nuisance.yaw, nuisance.pitch)
        plane = cls(rotation, nuisance.distance, np.eye(2, 3)).project(landmarks)
        placement = _misalignment(nuisance, size) @ _square(
            similarity_transform(plane, template(size))
        )
        return cls(rotation, nuisance.distance, placement[:2])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the pixel coordinates (N, 2) of points (N, 3) in head space."""
        turned = points @ self.rotation.T
        plane = turned[:, :2] / (1 - turned[:, 2:] / self.distance)
        return plane @ self.placement[:, :2].T + self.placement[:, 2]

    @property
    def pixels_per_unit(self) -> float:
        """Pixels a decimetre at the head's origin."""
        return float(np.hypot(self.placement[0, 0], self.placement[1, 0]))

    def rays(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where each pixel's ray meets the plane through the head's origin, and its run.

        Returns:
            float32 (3, size, size) twice, in head space: start, and the step that brings the ray
            one decimetre nearer to the lens along its axis.
        """
        inverse = np.linalg.inv(_square(self.placement))[:2]
        to_start = self.rotation.T[:, :2] @ inverse
        to_run = -to_start / self.distance
        to_run[:, 2] += self.rotation.T[:, 2]
        return _plane(to_start, size), _plane(to_run, size)


def pose(yaw: float, pitch: float) -> np.ndarray:
    """Return the rotation (3, 3) from head to camera space; angles in degrees."""
    sin_yaw, cos_yaw = np.sin(np.radians(yaw)), np.cos(np.radians(yaw))
    sin_pitch, cos_pitch = np.sin(np.radians(pitch)), np.cos(np.radians(pitch))
    turn = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
    nod = np.array([[1, 0, 0], [0, cos_pitch, -sin_pitch], [0, sin_pitch, cos_pitch]])
    return nod @ turn


def _misalignment(nuisance: Nuisance, size: int) -> np.ndarray:
    """Return the in-plane motion (3, 3) about the crop's middle, pixels."""
    pixel = size / ARCFACE_SIZE
    middle = size / 2
    turn = nuisance.scale * np.exp(1j * np.radians(nuisance.roll))
    shift_x = middle * (1 - turn.real) + middle * turn.imag + pixel * nuisance.shift_x
    shift_y = middle * (1 - turn.real) - middle * turn.imag + pixel * nuisance.shift_y
    return np.array(
        [[turn.real, -turn.imag, shift_x], [turn.imag, turn.real, shift_y], [0.0, 0.0, 1.0]]
    )


def _square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def _plane(coefficients: np.ndarray, size: int) -> np.ndarray:
    """Evaluate affine functions (K, 3) of the pixel's x and y; float32 (K, size, size)."""
    steps = np.arange(size)
    along = (coefficients[:, :1] * steps + coefficients[:, 2:]).astype(np.float32)
    down = (coefficients[:, 1:2] * steps).astype(np.float32)
    return along[:, None, :] + down[:, :, None]


@dataclass(frozen=True)
class Sight:
    """What each pixel's ray met, all (size, size) float32.

    Attributes:
        u: Chart coordinate.
        v: Chart coordinate.
        cell_x: Column in the chart's maps, fractional.
        cell_y: Row in the chart's maps, fractional.
        lift: How much nearer to the lens than the head's origin the meeting lies, decimetres.
        alpha: Coverage of the pixel by the head, 0..1.
        start: Rays as given by `Camera.rays`.
        run: Rays as given by `Camera.rays`.
    """

    u: np.ndarray
    v: np.ndarray
    cell_x: np.ndarray
    cell_y: np.ndarray
    lift: np.ndarray
    alpha: np.ndarray
    start: np.ndarray
    run: np.ndarray


def look(radius: np.ndarray, camera: Camera, size: int) -> Sight:
    """Walk every pixel's ray to the first surface it meets.

    Every second ray of every second row goes first, carefully. What it and its neighbours met is
    where the rays about it search, so that full resolution needs few steps. A ray that never gets
    inside ends where it came nearest, and how near that was smooths the outline.

    Args:
        radius: (CELLS, CELLS) radius map.
        camera: The view.
        size: Side of the image in pixels.
    """
    start, run = camera.rays(size)
    near, far = (
        np.repeat(np.repeat(bound, 2, axis=0), 2, axis=1)[:size, :size]
        for bound in _brackets(radius, start[:, ::2, ::2].copy(), run[:, ::2, ::2].copy())
    )
    walk = _Walk(start, run, near)
    walk.seek(radius, _FINE_STEPS, (near - far) * np.float32(1 / _FINE_STRIDES))
    found = walk.inside > _BEHIND
    np.copyto(walk.lift, walk.nearest, where=~found)
    gap = walk.measure(radius)
    u, v = SPAN * walk.point[:2] / walk.point[2]
    alpha = np.clip(0.5 - (gap - 0.01) * (0.7 * camera.pixels_per_unit), 0.0, 1.0)
    np.copyto(alpha, 1.0, where=found)
    return Sight(u, v, walk.cell_x, walk.cell_y, walk.lift, alpha, start, run)


def _brackets(
    radius: np.ndarray, start: np.ndarray, run: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lifts between which each coarse ray's neighbourhood meets the surface."""
    outer = float(radius[:, np.abs(AXIS) < 2.5].max())
    lift = np.sqrt(np.maximum(outer * outer - np.square(start).sum(axis=0), 0.0))
    walk = _Walk(start, run, lift)
    hull = cv2.dilate(radius, _HULL)
    for _ in range(2):
        walk.measure(hull)
        walk.lift -= walk.newton_step()
    walk.outside = walk.lift.copy()
    walk.seek(radius, _COARSE_STEPS)
    found = walk.inside > _BEHIND
    around = np.ones((3, 3), dtype=np.uint8)
    near = np.where(found, walk.outside, walk.nearest) + np.float32(0.02)
    far = np.where(found, walk.inside, walk.nearest) - np.float32(0.02)
    return cv2.dilate(near, around), cv2.erode(far, around)


class _Walk:
    """Rays on their way to a surface, in buffers used again at every step.

    Attributes:
        start: Rays as given by `Camera.rays`.
        run: Rays as given by `Camera.rays`.
        lift: How far each ray is from its start.
        outside: Last lift outside the surface, or the first of all.
        inside: Last lift inside the surface, or `_BEHIND`.
        nearest: Lift with the smallest gap outside.
        point: x, y and |p| + z of where the rays were measured last.
        cell_x: Its column in the chart's maps.
        cell_y: Its row in the chart's maps.
    """

    def __init__(self, start: np.ndarray, run: np.ndarray, lift: np.ndarray) -> None:
        self.start, self.run, self.lift = start, run, lift.copy()
        self.outside, self.inside = lift.copy(), np.full_like(lift, _BEHIND)
        self.nearest, self.least = lift.copy(), np.full_like(lift, np.inf)
        self.point = np.empty_like(start)
        self.cell_x, self.cell_y = np.empty_like(lift), np.empty_like(lift)
        self.reach, self.gap, self.scratch = (np.empty_like(lift) for _ in range(3))

    def seek(self, radius: np.ndarray, steps: int, stride: np.ndarray | None = None) -> None:
        """Walk towards a surface and, once inside, close in on it.

        Args:
            radius: The surface's radius map.
            steps: How many steps.
            stride: Length of the steps of rays not yet inside; without it, Newton's within limits.
        """
        for _ in range(steps):
            gap = self.measure(radius)
            is_outside = (gap > 0).view(np.uint8)
            _put(self.lift, is_outside, self.outside)
            _put(self.lift, 1 - is_outside, self.inside)
            _put(self.lift, (gap < self.least).view(np.uint8), self.nearest)
            np.minimum(self.least, gap, out=self.least)
            step = self.newton_step()
            seeking = stride
            if seeking is None:
                seeking = np.minimum(np.maximum(step, _SHORTEST), _LONGEST)
            _put(seeking, (self.inside == _BEHIND).view(np.uint8), step)
            self.lift -= step
            middle = np.add(self.outside, self.inside, out=step)
            middle *= np.float32(0.5)
            strayed = self.lift > self.outside
            strayed |= self.lift < self.inside
            _put(middle, strayed.view(np.uint8), self.lift)

    def measure(self, radius: np.ndarray) -> np.ndarray:
        """Return how far outside of a radius map each ray stands, along the head's radius."""
        np.multiply(self.run, self.lift, out=self.point)
        self.point += self.start
        x, y, z = self.point
        np.multiply(x, x, out=self.reach)
        self.reach += np.multiply(y, y, out=self.scratch)
        self.reach += np.multiply(z, z, out=self.scratch)
        np.sqrt(self.reach, out=self.reach)
        z += self.reach
        np.maximum(z, 1e-3, out=z)
        _cells(x, z, self.cell_x)
        _cells(y, z, self.cell_y)
        met = cv2.remap(
            radius, self.cell_x, self.cell_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.subtract(self.reach, met, out=self.gap)

    def newton_step(self) -> np.ndarray:
        """Return the step to where the radius just met would be reached."""
        # d|p| / d lift is lift / |p| but for perspective; near the rim it goes to zero.
        np.multiply(self.reach, 0.35, out=self.scratch)
        np.maximum(self.lift, self.scratch, out=self.scratch)
        np.divide(self.reach, self.scratch, out=self.scratch)
        self.scratch *= self.gap
        return self.scratch


def _put(values: np.ndarray, where: np.ndarray, into: np.ndarray) -> None:
    """Copy values where a uint8 mask is set; OpenCV's is ten times faster than np.copyto's."""
    cv2.copyTo(values, where, into)


def _cells(along: np.ndarray, depth: np.ndarray, out: np.ndarray) -> None:
    """Turn a coordinate and |p| + z into fractional cell indices."""
    np.abs(along, out=out)
    out *= np.float32(SPAN * _FOLD)
    out += depth
    np.divide(along, out, out=out)
    out *= np.float32(SPAN * (CELLS - 1) / (2 * _EDGE))
    out += np.float32((CELLS - 1) / 2)


def surface_points(radius: np.ndarray, chart: np.ndarray) -> np.ndarray:
    """Return the points (N, 3) in head space at chart coordinates (N, 2)."""
    folded = chart / (1 + _FOLD * np.abs(chart))
    cells = (folded / _EDGE + 1) * (CELLS - 1) / 2
    low = np.clip(np.floor(cells).astype(int), 0, CELLS - 2)
    x, y = (cells - low).T
    column, row = low.T
    met = (1 - y) * ((1 - x) * radius[row, column] + x * radius[row, column + 1])
    met += y * ((1 - x) * radius[row + 1, column] + x * radius[row + 1, column + 1])
    return (chart_directions(*chart.T) * met).T


def surface_normals(radius: np.ndarray) -> np.ndarray:
    """Return the outward unit normals (3, CELLS, CELLS) of a radius map, in head space."""
    point = _DIRECTIONS * radius
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
