"""Are these aligned crops? A look at a sample, so that no hours go into whole scenes.

Where a face lies on the ArcFace template its eyes are darker than the bridge of the nose between
them and the cheeks below. Of aligned crops nearly all images show that, of loose crops and scenes
about as many as do not: the share of images in which it is so tells them apart, without a detector
and in milliseconds. Where the share is low and a detector is installed, it is asked as well.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.landmark_dataset import LandmarkDataset
from facedistill.data.formats.procedural import PREFIX
from facedistill.data.views.selection import evenly_spread
from facedistill.runtime.alignment import (
    ARCFACE_SIZE,
    similarity_transform,
    template,
    transform_points,
)
from facedistill.runtime.detection import YUNET, FaceDetector

SAMPLE = 64
"""Images looked at, evenly spread."""
LEAST_SHARE = 0.65
"""Share of images with dark eyes in their places, below which crops are doubted. Of aligned crops
of CelebA it was 1.00, of drawn faces 0.77 to 0.80, of loose crops 0.39, of scenes 0.50."""
MOST_MISFIT = 8.0
"""Median misfit of a detector's landmarks, pixels of 112, above which they are doubted."""

_FEWEST, _SMALLEST = 8, 32
"""Images, and pixels of a side, below which nothing is said."""
_DETECTED = 16
"""Images that a detector is asked for."""
_FACE = np.s_[20:100, 16:96]
_EYES = ((38, 52, 4, 2), (74, 52, 4, 2))
_LIGHT = ((56, 56, 3, 4), (36, 64, 5, 4), (76, 64, 5, 4))
"""Patches (x, y, half width, half height) in a crop of 112: the eyes; nose bridge and cheeks."""
_LIGHT_WEIGHTS = (0.5, 0.25, 0.25)


@dataclass(frozen=True)
class Alignment:
    """How a sample of images lies on the template.

    Attributes:
        images: How many were looked at.
        share: In what share of them the eyes are darker than what is about them.
        square: Share of square images.
    """

    images: int
    share: float
    square: float

    @property
    def doubtful(self) -> bool:
        """Whether they are hardly aligned crops."""
        return self.share < LEAST_SHARE or self.square < 0.5

    def text(self) -> str:
        """Return the figure as text."""
        return f"{100 * self.share:.0f} % of {self.images} images"


def alignment_of(dataset: FaceDataset) -> Alignment | None:
    """Look at a sample of images.

    Args:
        dataset: Faces; damaged images are passed over.

    Returns:
        What was seen; None where the images are too few or too small to say anything.
    """
    contrasts, square = [], 0
    for index in evenly_spread(len(dataset), SAMPLE).tolist():
        try:
            image = dataset[index].image
        except FacedistillError:
            continue  # Whoever uses the image names it.
        if min(image.shape[:2]) >= _SMALLEST:
            contrasts.append(eye_contrast(image))
            square += image.shape[0] == image.shape[1]
    if len(contrasts) < _FEWEST:
        return None
    share = float((np.array(contrasts) > 0).mean())
    return Alignment(len(contrasts), share, square / len(contrasts))


def eye_contrast(image: np.ndarray) -> float:
    """Return by how much the eyes' places on the template are darker than nose bridge and cheeks.

    Args:
        image: uint8 RGB (H, W, 3), as if it were an aligned crop.

    Returns:
        The difference over the standard deviation of the face's grey levels.
    """
    shape = (ARCFACE_SIZE, ARCFACE_SIZE)
    grey = cv2.cvtColor(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    levels = grey.astype(np.float64) / (grey[_FACE].std() + 1e-6)
    light = np.dot([_patch(levels, *place) for place in _LIGHT], _LIGHT_WEIGHTS)
    return float(light - np.mean([_patch(levels, *place) for place in _EYES]))


def warn_unless_aligned(dataset: FaceDataset, alignment: Alignment | None = None) -> None:
    """Warn of faces that are hardly aligned crops.

    Drawn faces, and sets of loose crops with landmarks, are passed over.

    Args:
        dataset: What is to be packed, embedded or trained on.
        alignment: What `alignment_of` has returned of it; looked for by default.
    """
    if isinstance(dataset, LandmarkDataset) or dataset.name.startswith(PREFIX):
        return
    found = alignment_of(dataset) if alignment is None else alignment
    if found is None or not found.doubtful:
        return
    beside = _detected_misfit(dataset) if found.square >= 0.5 else ", and most are not square"
    if beside is None:
        return
    warnings.warn(
        f"{dataset.name}: hardly aligned crops: {found.text()} have their eyes where the ArcFace "
        f"template has them (of aligned crops nearly all){beside}. What is learned from "
        "whole scenes or loose crops is of little use: cut the faces out first, photos by "
        "`facedistill prepare --detect`, loose crops by --align",
        stacklevel=2,
    )


def misfit(landmarks: np.ndarray, size: int) -> float:
    """Return how far the similarity that landmarks ask for would move the template.

    Args:
        landmarks: (5, 2), in pixels of a crop.
        size: The crop's side.

    Returns:
        Root mean square over the five points, in pixels of a crop of 112.
    """
    goal = template(size)
    moved = transform_points(goal, similarity_transform(landmarks, goal))
    return float(np.sqrt(((moved - goal) ** 2).sum(axis=1).mean())) * ARCFACE_SIZE / size


def _detected_misfit(dataset: FaceDataset) -> str | None:
    """Return what an installed detector says, empty without one; None where it sees alignment."""
    if not YUNET.path.is_file():
        return ""
    detector = FaceDetector()
    misses = []
    places = evenly_spread(len(dataset), _DETECTED).tolist()
    for index in places:
        try:
            image = dataset[index].image
            best = detector.detect(image, min_size=len(image) / 4)[:1]
            misses += [misfit(face.landmarks, len(image)) for face in best]
        except FacedistillError:
            continue
    middle = float(np.median(misses)) if misses else np.inf
    if len(misses) >= LEAST_SHARE * len(places) and middle <= MOST_MISFIT:
        return None
    said = f"; a detector finds a face in {len(misses)} of {len(places)}"
    return f"{said}, {middle:.0f} pixels of 112 beside the template" if misses else said


def _patch(levels: np.ndarray, x: int, y: int, width: int, height: int) -> float:
    return float(levels[y - height : y + height + 1, x - width : x + width + 1].mean())
