"""The faces of one photograph: found, chosen, judged, cut out; every decision is a row."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.packing import check_quality
from facedistill.evaluation.landmark_locator import Locator, check_locator
from facedistill.experiments.aligned_crops import look_again
from facedistill.models.files.open_network import open_network
from facedistill.runtime.alignment import ARCFACE_SIZE, warp
from facedistill.runtime.detection import MIN_SCORE, DetectedFace, Detector
from facedistill.runtime.face_limits import FaceLimits, Fault, sharpness
from facedistill.runtime.image_file import JPEG_QUALITY, DamagedImage, encode_jpeg

NO_FACE = "no face found"


class Choice(StrEnum):
    """Which faces of a photograph are taken."""

    ALL = "all"
    LARGEST = "largest"
    CENTRAL = "central"


@dataclass(frozen=True)
class FaceOptions(FaceLimits):
    """Which faces of those within the limits are taken, and what is made of them.

    Attributes:
        choice: All faces of a photograph, the largest, or the one nearest to its middle.
        size: Side of the crops.
        quality: JPEG quality of the crops.

    Raises:
        FacedistillError: If a value is out of range.
    """

    choice: Choice = Choice.ALL
    size: int = ARCFACE_SIZE
    quality: int = JPEG_QUALITY

    def __post_init__(self) -> None:
        check_quality(self.quality)
        super().__post_init__()


@dataclass
class FaceRow:
    """What was found and decided: one face of a photograph, or a photograph without any.

    Attributes:
        photo: The photograph's place.
        face: The face's number, from 1, the best score first; None where there is none.
        box: (left, top, width, height), in the photograph's pixels, as the landmarks.
        score: The detector's.
        landmarks: Ten numbers, x and y of the five points.
        yaw: Degrees, see `DetectedFace.yaw`; None of faces that were dropped before.
        sharpness: See `face_limits.sharpness`; likewise.
        crop: The crop's name; empty where the face was dropped.
        dropped: Why; empty where it was not.
        reason: The same in words without figures of this face, to be counted.
    """

    photo: str
    face: int | None = None
    box: list[float] = field(default_factory=list)
    score: float | None = None
    landmarks: list[float] = field(default_factory=list)
    yaw: float | None = None
    sharpness: float | None = None
    crop: str = ""
    dropped: str = ""
    reason: str = ""


@dataclass(frozen=True)
class FaceFinder:
    """Gives the faces of photograph `index`; sent to worker processes.

    Attributes:
        photos: The photographs, upright.
        names: What the crops of each are called, without suffix.
        detector: Finds faces.
        options: Which are taken.
        landmarks: A network's file that finds their landmarks once more; None for none.
    """

    photos: FaceDataset
    names: list[str]
    detector: Detector
    options: FaceOptions
    landmarks: Path | None = None

    def __call__(self, index: int) -> tuple[list[FaceRow], dict[str, bytes]]:
        """Return what was decided, and the crops by name."""
        where = self.photos.where(index)
        try:
            image = self.photos[index].image
        except DamagedImage as error:
            return [FaceRow(where, dropped=str(error), reason="cannot be read")], {}
        found = self.detector.detect(
            image,
            min_score=min(self.options.min_score, MIN_SCORE),
            min_size=self.options.min_size,
        )
        if not found:
            return [FaceRow(where, dropped=NO_FACE, reason=NO_FACE)], {}
        rows = [_row(where, number, face) for number, face in enumerate(found, start=1)]
        for face, row in zip(found, rows, strict=True):
            _drop(row, self.options.fault_of_found(face))
        crops = {}
        for face, row in self._chosen(image, found, rows):
            encoded = self._crop(image, face, row)
            if not row.dropped:
                several = self.options.choice == Choice.ALL
                row.crop = self.names[index] + (f"-{row.face}" if several else "")
                crops[row.crop] = encoded
        return rows, crops

    def _chosen(
        self, image: np.ndarray, found: list[DetectedFace], rows: list[FaceRow]
    ) -> list[tuple[DetectedFace, FaceRow]]:
        """Return the faces to be cut out; the others are dropped."""
        left = [each for each in zip(found, rows, strict=True) if not each[1].dropped]
        if self.options.choice == Choice.ALL or not left:
            return left
        middle = np.array(image.shape[1::-1]) / 2

        def rank(each: tuple[DetectedFace, FaceRow]) -> float:
            if self.options.choice == Choice.LARGEST:
                return -each[0].size
            return float(np.hypot(*(each[0].middle - middle)))

        first, *others = sorted(left, key=rank)
        word = "largest" if self.options.choice == Choice.LARGEST else "most central"
        for _, row in others:
            _drop(row, Fault(f"not the {word} face"))
        return [first]

    def _crop(self, image: np.ndarray, face: DetectedFace, row: FaceRow) -> bytes:
        """Return the crop's file, and write down what it was judged by."""
        face = self.detector.refine(image, face)
        points = face.landmarks
        try:
            if self.landmarks is not None:
                network = _locator(self.landmarks, os.getpid())
                points = look_again(network, [image], points[None], [row.photo])[0][0]
            crop = warp(image, points, self.options.size)
        except FacedistillError:
            _drop(row, Fault("landmarks in one place"))
            return b""
        row.landmarks = np.round(points, 2).ravel().tolist()
        turned = DetectedFace(face.box, points, face.score).yaw
        row.yaw, row.sharpness = round(turned, 1), round(sharpness(crop), 1)
        _drop(row, self.options.fault_of_crop(turned, row.sharpness))
        return encode_jpeg(crop, self.options.quality)


def check_landmark_network(path: Path) -> None:
    """Refuse a file that is no landmark network, before any photograph is read.

    Raises:
        FacedistillError: Saying what it is instead.
    """
    check_locator(_locator(path, os.getpid()))


@lru_cache(maxsize=1)
def _locator(path: Path, process: int) -> Locator:
    """Open a landmark network, once in each process: what is open outlives no fork."""
    network: Any = open_network(path, device=torch.device("cpu"))
    return network


def _row(where: str, number: int, face: DetectedFace) -> FaceRow:
    return FaceRow(
        where,
        number,
        [round(float(value), 1) for value in face.box],
        round(face.score, 4),
        np.round(face.landmarks, 2).ravel().tolist(),
    )


def _drop(row: FaceRow, fault: Fault | None) -> None:
    if fault is not None:
        row.reason, row.dropped = fault.reason, str(fault)
