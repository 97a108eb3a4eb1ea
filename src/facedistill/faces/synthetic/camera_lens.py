"""Lens and sensor: light into the bytes of an image."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.runtime.alignment import ARCFACE_SIZE


def expose(scene: np.ndarray, nuisance: Nuisance, size: int) -> np.ndarray:
    """Turn linear light (3, H, W) into bytes (H, W, 3)."""
    gain = nuisance.exposure * np.exp(
        [0.5 * nuisance.warmth, nuisance.tint, -0.5 * nuisance.warmth]
    )
    scene *= gain.astype(np.float32)[:, None, None]
    if nuisance.saturation < 1:
        grey = 0.3 * scene[0] + 0.6 * scene[1] + 0.1 * scene[2]
        scene *= np.float32(nuisance.saturation)
        scene += np.float32(1 - nuisance.saturation) * grey
    np.maximum(scene, 0.0, out=scene)
    # Film's shoulder keeps highlights from clipping hard; the square root is the display's gamma.
    scene /= 1 + 0.35 * scene
    np.sqrt(scene, out=scene)
    scene *= np.float32(255 * 1.12 * nuisance.contrast)
    scene += np.float32(120 * (1 - nuisance.contrast))
    image = cv2.merge(list(scene))
    pixel = size / ARCFACE_SIZE
    if nuisance.motion * pixel > 1:
        image = cv2.filter2D(image, -1, _streak(nuisance, pixel), borderType=cv2.BORDER_REPLICATE)
    if nuisance.blur * pixel > 0.25:
        image = cv2.GaussianBlur(
            image, (0, 0), nuisance.blur * pixel, borderType=cv2.BORDER_REPLICATE
        )
    if nuisance.noise > 0:
        image += nuisance.noise * _grain(size, nuisance.texture_seed)
    image += np.float32(0.5)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _streak(nuisance: Nuisance, pixel: float) -> np.ndarray:
    """Return the kernel of a straight motion blur."""
    length = nuisance.motion * pixel
    side = 2 * int(np.ceil(length / 2)) + 1
    angle = np.pi * (nuisance.texture_seed % 1024) / 1024
    offset = np.arange(side, dtype=np.float32) - side // 2
    along = offset[None, :] * np.cos(angle) + offset[:, None] * np.sin(angle)
    beside = offset[:, None] * np.cos(angle) - offset[None, :] * np.sin(angle)
    kernel = np.clip(0.5 + length / 2 - np.abs(along), 0, 1) * np.clip(1 - np.abs(beside), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


@cache
def _white(size: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(112))
    return rng.standard_normal((2 * size, 2 * size, 3)).astype(np.float32)


def _grain(size: int, seed: int) -> np.ndarray:
    """Cut the sensor's noise (size, size, 3), unit variance, out of a larger plate."""
    x, y = seed % size, (seed // size) % size
    return _white(size)[y : y + size, x : x + size]
