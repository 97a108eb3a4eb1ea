"""Errors of landmarks and the curve of their cumulative distribution (CED).

The error of a face is its mean distance between a point found and where it is, divided by the
distance of its two true eyes: inter-ocular, the eyes being the first two of the five points, and in
a larger markup their outer corners, as in the tables of 300-W and WFLW. The average over faces is
the NME. A face fails at a limit if its error is larger. The cumulative curve gives the share of
faces up to an error, and its area, AUC, is taken from 0 to the limit and divided by it, so that 1
is the best.
"""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.landmarks import eye_distance


def normalised_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return each point's distance from where it is, over the distance of the true eyes.

    Args:
        found: (N, P, 2), in any unit that is the same for x and y.
        truth: (N, P, 2), in the same.

    Returns:
        float64 (N, P).

    Raises:
        FacedistillError: If the shapes differ, points are not finite, or a face's eyes coincide.
    """
    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if found.shape != truth.shape or found.ndim != 3:
        raise FacedistillError(f"found landmarks are {found.shape}, the true ones {truth.shape}")
    apart = eye_distance(truth)
    broken = ~np.isfinite(found).all(axis=(1, 2))
    if broken.any():
        raise FacedistillError(f"landmarks found are not finite of face {int(np.argmax(broken))}")
    if not apart.all():
        raise FacedistillError(f"the true eyes coincide of face {int(np.argmin(apart))}")
    return np.linalg.norm(found - truth, axis=2) / apart[:, None]


def cumulative_curve(face_errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors that occur, rising, and the share of faces up to each.

    Args:
        face_errors: (N,).

    Returns:
        float64 (N,) and float64 (N,).
    """
    ordered = np.sort(np.asarray(face_errors, np.float64))
    return ordered, np.arange(1, len(ordered) + 1) / len(ordered)


def ced_area_shares(face_errors: np.ndarray, limit: float) -> np.ndarray:
    """Return each face's share of the area under the cumulative curve from 0 to `limit`.

    The curve is a staircase: a face of error e adds limit - e to N times its area. The mean over
    faces is the AUC, 0..1.
    """
    return np.clip(1 - np.asarray(face_errors, np.float64) / limit, 0, None)
