"""Faces warped to the ArcFace template on reading."""

from __future__ import annotations

import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.data.packing import check_quality
from facedistill.data.views.view import View
from facedistill.runtime.alignment import ARCFACE_SIZE, warp
from facedistill.runtime.image_file import JPEG_QUALITY, encode_jpeg


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
