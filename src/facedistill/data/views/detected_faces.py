"""Photographs read as the aligned crop of their largest face."""

from __future__ import annotations

import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.data.sample import Sample, content_key
from facedistill.data.views.view import View
from facedistill.runtime.alignment import ARCFACE_SIZE, scale_square, warp
from facedistill.runtime.detection import Detector, largest_face
from facedistill.runtime.image_file import decode_image


class DetectedFaces(View):
    """A view of photographs in which each is the aligned crop of its largest face.

    A photograph without a face is given as its middle square, so that it counts as what it is, and
    is remembered.

    Args:
        source: The photographs; they are turned as their EXIF tags ask.
        detector: Finds faces; may be used by several threads.
        size: Side of the crops.

    Attributes:
        missed: Indices of photographs without a face, of those that were read.
        several: Indices of those with several.
    """

    def __init__(self, source: FaceDataset, detector: Detector, size: int = ARCFACE_SIZE) -> None:
        super().__init__(source)
        self.detector, self.size = detector, size
        self.missed: set[int] = set()
        self.several: set[int] = set()

    def __getitem__(self, index: int) -> Sample:
        """Return the crop of photograph `index`."""
        encoded = self.encoded(index)
        photo = decode_image(encoded, self.where(index), upright=True)
        face, count = largest_face(photo, self.detector)
        if count > 1:
            self.several.add(index)
        if face is None:
            self.missed.add(index)
            crop = scale_square(_middle_square(photo), self.size)
        else:
            crop = warp(photo, face.landmarks, self.size)
        return Sample(crop, self.labels.item(index), content_key(encoded))

    def said(self) -> list[str]:
        """Return what is to be told of the photographs that were read: a line each, or none."""
        lines = []
        if self.missed:
            first = self.where(min(self.missed))
            lines.append(
                f"{self.name}: no face is found in {len(self.missed):,} photos (first {first}): "
                "their middle squares are taken, and count as they are"
            )
        if self.several:
            count = len(self.several)
            lines.append(f"{self.name}: {count:,} photos have several faces: the largest is taken")
        return lines


def _middle_square(photo: np.ndarray) -> np.ndarray:
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return photo[top : top + side, left : left + side]
