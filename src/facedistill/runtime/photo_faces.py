"""The faces of photographs as aligned crops, each judged before it is taken."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.alignment import scale_square, warp
from facedistill.runtime.detection import DetectedFace, Detector
from facedistill.runtime.face_limits import FaceLimits, Fault, sharpness
from facedistill.runtime.image_file import DamagedImage, decode_image, read_image_file


@dataclass(frozen=True, eq=False)
class PhotoFace:
    """A face of a photograph.

    Attributes:
        crop: uint8 RGB (size, size, 3), aligned.
        size: Longer side of its box, pixels of the photograph; of the crop where it is one.
        place: (left, top, width, height) in the photograph; None of a crop.
    """

    crop: np.ndarray
    size: float
    place: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class PhotoFaces:
    """What a photograph has.

    Attributes:
        path: The photograph.
        digest: Of its bytes, by which it is known again; empty where it cannot be read.
        faces: Those that are within the limits, the largest first.
        faults: Why others are not taken, or the photograph has none.
    """

    path: Path
    digest: bytes
    faces: list[PhotoFace]
    faults: list[str]


@dataclass(frozen=True)
class PhotoReader:
    """Gives the faces of photographs, or takes each image for an aligned crop.

    Attributes:
        size: Side of the crops that the network takes.
        detector: Finds faces; None where images are aligned crops.
        limits: Of the faces that are taken; of aligned crops the sharpness.
    """

    size: int
    detector: Detector | None
    limits: FaceLimits

    def read(self, path: Path) -> PhotoFaces:
        """Return the faces of a photograph; what is wrong with it is among the faults."""
        try:
            encoded = read_image_file(path)
            image = decode_image(encoded, str(path), upright=True)
        except DamagedImage as error:
            return PhotoFaces(path, b"", [], [str(error)])
        faces: list[PhotoFace] = []
        faults: list[str] = []
        if self.detector is None:
            self._take_crop(path, image, faces, faults)
        else:
            self._find(path, image, self.detector, faces, faults)
        faces.sort(key=lambda face: -face.size)
        digest = hashlib.blake2b(encoded, digest_size=16).digest()
        return PhotoFaces(path, digest, faces, faults)

    def _take_crop(
        self, path: Path, image: np.ndarray, faces: list[PhotoFace], faults: list[str]
    ) -> None:
        height, width = image.shape[:2]
        if height != width:
            faults.append(
                f"{path}: {width} x {height} is no aligned crop, which is square: leave out --crops"
            )
            return
        crop = image if width == self.size else scale_square(image, self.size)
        fault = self.limits.fault_of_crop(0.0, round(sharpness(crop), 1))
        if fault is None:
            faces.append(PhotoFace(crop, float(width)))
        else:
            faults.append(f"{path}: {fault}")

    def _find(
        self,
        path: Path,
        image: np.ndarray,
        detector: Detector,
        faces: list[PhotoFace],
        faults: list[str],
    ) -> None:
        limits = self.limits
        found = detector.detect(image, min_score=limits.min_score, min_size=limits.min_size)
        if not found:
            faults.append(f"{path}: no face is found")
        for face in found:
            crop, fault = self._judged(image, face, detector)
            if fault is not None:
                faults.append(f"{path}: {fault}")
            elif crop is not None:
                faces.append(PhotoFace(crop, face.size, face.box))

    def _judged(
        self, image: np.ndarray, face: DetectedFace, detector: Detector
    ) -> tuple[np.ndarray | None, Fault | None]:
        fault = self.limits.fault_of_found(face)
        if fault is not None:
            return None, fault
        face = detector.refine(image, face)
        try:
            crop = warp(image, face.landmarks, self.size)
        except FacedistillError:
            return None, Fault("landmarks in one place")
        return crop, self.limits.fault_of_crop(face.yaw, round(sharpness(crop), 1))
