"""Faces warped to the ArcFace template on reading."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.image_file import JPEG_QUALITY, encode_jpeg
from facedistill.data.packing import check_quality
from facedistill.data.views.view import View
from facedistill.faces.landmarks import to_fractions, to_pixels
from facedistill.runtime.alignment import ARCFACE_SIZE, similarity_transform, template


class AlignedFaces(View):
    """A data set's faces warped to the ArcFace template when they are asked for.

    Args:
        source: Loose crops.
        landmarks: (N, 5, 2), in pixels of the source's images.
        size: Side of the crops.
        quality: JPEG quality, 1 to 100, of `encoded`.

    Attributes:
        landmarks: float64 (N, 5, 2).
    """

    def __init__(
        self,
        source: FaceDataset,
        landmarks: np.ndarray,
        size: int = ARCFACE_SIZE,
        quality: int = JPEG_QUALITY,
    ) -> None:
        check_quality(quality)
        if len(landmarks) != len(source):
            raise ValueError(f"{len(landmarks)} faces have landmarks, {len(source)} there are")
        super().__init__(source)
        self.landmarks, self.size, self.quality = landmarks, size, quality
        self.name = f"{source.name} (aligned)"

    def crop(self, index: int) -> np.ndarray:
        """Return aligned crop `index`, uint8 RGB (size, size, 3)."""
        return warp(self.source[index].image, self.landmarks[index], self.size)

    def encoded(self, index: int) -> bytes:
        """Return the aligned crop as a JPEG file."""
        return encode_jpeg(self.crop(index), self.quality)


def warp(
    image: np.ndarray, landmarks: np.ndarray, size: int, goal: np.ndarray | None = None
) -> np.ndarray:
    """Return an aligned crop; large faces are shrunk by area averaging first, against aliasing.

    Args:
        image: uint8 RGB (H, W, 3).
        landmarks: (5, 2), in its pixels.
        size: Side of the crop.
        goal: (5, 2), where in the crop they are to lie; the template by default.

    Raises:
        FacedistillError: If the landmarks are degenerate.
    """
    goal = template(size) if goal is None else goal
    scale = float(np.hypot(*similarity_transform(landmarks, goal)[:, 0]))
    if scale < 0.5:
        shape = tuple(max(1, round(2 * scale * side)) for side in image.shape[:2])
        landmarks = to_pixels(to_fractions(landmarks, image.shape), shape)
        image = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    matrix = similarity_transform(landmarks, goal)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
