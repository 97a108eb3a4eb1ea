"""From five landmarks to an aligned crop: the ArcFace template and similarity transforms.

A crop is made by the similarity (rotation, uniform scale, shift) that brings a face's five
landmarks closest to the template in the least-squares sense. Never an affine map: shear would
deform the face and cost recognition accuracy.
"""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError

ARCFACE_SIZE = 112
"""Side in pixels of the crop that `ARCFACE_TEMPLATE` describes."""

ARCFACE_TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float64,
)
"""float64 (5, 2), (x, y) in pixels of a 112x112 crop: left eye, right eye, nose, left and right
mouth corner as seen in the image (Deng et al., "ArcFace", CVPR 2019, as published in InsightFace).
"""
ARCFACE_TEMPLATE.setflags(write=False)

MIN_SPREAD = 1e-9
"""Smallest ratio of a shape's spread to its coordinates that still counts as five points."""


def template(size: int = ARCFACE_SIZE) -> np.ndarray:
    """Return the ArcFace template for a square crop.

    Args:
        size: Side of the crop in pixels.

    Returns:
        float64 (5, 2), (x, y) in pixels: the 112-pixel template times size / 112.
    """
    if size < 1:
        raise FacedistillError(f"a crop of {size} pixels cannot be made: give a size of at least 1")
    return ARCFACE_TEMPLATE * (size / ARCFACE_SIZE)


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the similarities that bring landmarks closest to a target, without reflection.

    The solution of Umeyama, "Least-squares estimation of transformation parameters between two
    point patterns" (PAMI 1991). In the plane it needs no SVD: with points as complex numbers
    z (source) and w (target), both centred, the best w = a z has a = sum(conj(z) w) / sum(|z|^2),
    whose modulus is the scale and whose argument is the rotation.

    Args:
        source: (N, P, 2) landmarks of N faces, or (P, 2) of one; (x, y) in pixels.
        target: (P, 2) points to bring them to, say `template()`.

    Returns:
        float64 (N, 2, 3), or (2, 3) for one face: [[a, -b, x], [b, a, y]] as OpenCV takes them.

    Raises:
        FacedistillError: If shapes do not fit, points are not finite or all points of a face fall
            together; the message names the first such face.
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    if target.ndim != 2 or target.shape[1] != 2 or len(target) < 2:
        raise FacedistillError(f"target points have shape {target.shape}: give (P, 2), P >= 2")
    if source.ndim not in (2, 3) or source.shape[-2:] != target.shape:
        raise FacedistillError(
            f"landmarks have shape {source.shape}: give {target.shape} or (N, *{target.shape})"
        )
    faces = source.reshape(-1, *target.shape)
    _refuse(~np.isfinite(faces).all(axis=(1, 2)), "are not finite")
    if not np.isfinite(target).all():
        raise FacedistillError("target points are not finite")

    points = faces[..., 0] + 1j * faces[..., 1]
    goal = target[:, 0] + 1j * target[:, 1]
    middle, goal_middle = points.mean(axis=1), goal.mean()
    points, goal = points - middle[:, None], goal - goal_middle

    spread = np.sqrt((np.abs(points) ** 2).sum(axis=1))
    _refuse(spread <= MIN_SPREAD * (1 + np.abs(middle)), "all lie in one point")
    # Divided by the spread twice rather than by its square, which tiny shapes would underflow.
    turn = (np.conj(points / spread[:, None]) * goal).sum(axis=1) / spread
    _refuse(
        np.abs(turn) * spread <= MIN_SPREAD * (1 + np.linalg.norm(goal)),
        "do not determine a rotation (are they mirrored or in the wrong order?)",
    )
    shift = goal_middle - turn * middle
    matrices = np.empty((len(faces), 2, 3))
    matrices[:, 0] = np.stack([turn.real, -turn.imag, shift.real], axis=1)
    matrices[:, 1] = np.stack([turn.imag, turn.real, shift.imag], axis=1)
    return matrices.reshape(*source.shape[:-2], 2, 3)


def _refuse(bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise FacedistillError(f"the landmarks of face {int(np.argmax(bad))} {what}")


def transform_points(points: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Move points by affine matrices.

    Args:
        points: (..., P, 2), (x, y).
        matrices: (..., 2, 3), leading axes broadcast against those of `points`.

    Returns:
        float64 (..., P, 2).
    """
    points = np.asarray(points, dtype=np.float64)
    matrices = np.asarray(matrices, dtype=np.float64)
    return points @ matrices[..., :2].swapaxes(-1, -2) + matrices[..., None, :, 2]


def align(image: np.ndarray, landmarks: np.ndarray, size: int = ARCFACE_SIZE) -> np.ndarray:
    """Cut the aligned crop of one face out of an image, as the field's evaluation scripts do.

    Large faces alias; `warp` shrinks them first.

    Args:
        image: uint8 RGB (H, W, 3).
        landmarks: (5, 2), (x, y) in pixels of `image`, in the template's order.
        size: Side of the crop in pixels.

    Returns:
        uint8 RGB (size, size, 3); what lies outside the image is black.

    Raises:
        FacedistillError: If the landmarks are degenerate (see `similarity_transform`).
    """
    import cv2  # Only what warps needs OpenCV; a device may do without.

    matrix = similarity_transform(np.asarray(landmarks).reshape(-1, 2), template(size))
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def warp(
    image: np.ndarray, landmarks: np.ndarray, size: int, goal: np.ndarray | None = None
) -> np.ndarray:
    """Return an aligned crop; large faces are shrunk by area averaging first, against aliasing.

    Args:
        image: uint8 (H, W, 3).
        landmarks: (5, 2), in its pixels.
        size: Side of the crop.
        goal: (5, 2), where in the crop they are to lie; the template by default.

    Returns:
        uint8 (size, size, 3); what lies outside the image is black.

    Raises:
        FacedistillError: If the landmarks are degenerate.
    """
    import cv2

    goal = template(size) if goal is None else goal
    matrix = similarity_transform(landmarks, goal)
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 0.5:
        height, width = image.shape[:2]
        shape = max(1, round(2 * scale * width)), max(1, round(2 * scale * height))
        landmarks = (np.asarray(landmarks) + 0.5) * (shape[0] / width, shape[1] / height) - 0.5
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
        matrix = similarity_transform(landmarks, goal)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def scale_square(image: np.ndarray, size: int) -> np.ndarray:
    """Scale a square image: shrunk by area averaging, enlarged bilinearly.

    Args:
        image: uint8 (H, H, 3).
        size: Side wanted, pixels.

    Returns:
        uint8 (size, size, 3).
    """
    import cv2

    method = cv2.INTER_AREA if size < len(image) else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)
