"""Seamless noise, the grain of skin, hair and background."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

TILE = 256


@cache
def noise_tile(stretch: int) -> np.ndarray:
    """Return smooth noise, zero mean, unit variance, `stretch`ed downwards: a seamless tile, 3 x 3.

    Repeated because OpenCV samples inside an array several times faster than around its border.
    """
    rng = np.random.Generator(np.random.PCG64(20170902 + stretch))
    tiles = np.tile(rng.standard_normal((TILE, TILE)).astype(np.float32), (3, 3))
    total = np.zeros((TILE, TILE), dtype=np.float32)
    for sigma in (0.8, 1.8, 4.0):
        smooth = cv2.GaussianBlur(tiles, (0, 0), sigmaX=sigma, sigmaY=sigma * stretch)
        smooth = smooth[TILE : 2 * TILE, TILE : 2 * TILE]
        total += smooth / smooth.std()
    return np.tile((total - total.mean()) / total.std(), (3, 3))


def texture(stretch: int, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Sample noise at coordinates in its cells, moved to a place of the seed's."""
    shift_x, shift_y = TILE + seed % TILE, TILE + (seed // TILE) % TILE
    return cv2.remap(
        noise_tile(stretch),
        x + np.float32(shift_x),
        y + np.float32(shift_y),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
