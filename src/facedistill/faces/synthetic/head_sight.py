"""What a turned camera sees of a procedural head.

Seeing is relief mapping: every pixel's ray walks into the radius map until it meets the surface,
so noses move against eyes and far cheeks vanish behind near ones as they do on photographs.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facedistill.faces.synthetic.head_chart import (
    AXIS,
    CELLS,
    EDGE,
    FOLD,
    SPAN,
)
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.runtime.alignment import ARCFACE_SIZE, similarity_transform, template

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


@dataclass(frozen=True)
class Camera:
    """Where a head stands before the lens and where its image falls.

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
        """Turn the head and place its image as an aligned crop that misses by the nuisance.

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
    out *= np.float32(SPAN * FOLD)
    out += depth
    np.divide(along, out, out=out)
    out *= np.float32(SPAN * (CELLS - 1) / (2 * EDGE))
    out += np.float32((CELLS - 1) / 2)
