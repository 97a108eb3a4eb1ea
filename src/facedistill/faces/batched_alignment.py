"""Aligned crops of many faces at once."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.alignment import (
    ARCFACE_SIZE,
    ARCFACE_TEMPLATE,
    similarity_transform,
    template,
)


def align_batch(
    images: Sequence[np.ndarray], landmarks: np.ndarray, size: int = ARCFACE_SIZE
) -> np.ndarray:
    """Cut the aligned crops of many faces, one an image.

    Args:
        images: N uint8 RGB arrays of any sizes; the same array may stand for several faces.
        landmarks: (N, 5, 2), (x, y) in pixels of each face's image.
        size: Side of the crops in pixels.

    Returns:
        uint8 RGB (N, size, size, 3).

    Raises:
        FacedistillError: If there are not as many images as faces, or landmarks are degenerate.
    """
    landmarks = np.asarray(landmarks, dtype=np.float64).reshape(-1, *ARCFACE_TEMPLATE.shape)
    if len(images) != len(landmarks):
        raise FacedistillError(f"{len(images)} images but landmarks of {len(landmarks)} faces")
    matrices = similarity_transform(landmarks, template(size))
    crops = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for crop, image, matrix in zip(crops, images, matrices, strict=True):
        cv2.warpAffine(image, matrix, (size, size), dst=crop, flags=cv2.INTER_LINEAR)
    return crops
