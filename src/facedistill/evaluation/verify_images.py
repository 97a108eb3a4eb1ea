"""Verification of two faces: one score, one decision."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.alignment import warp
from facedistill.runtime.detection import MIN_SIZE, Detector, largest_face
from facedistill.runtime.image_file import decode_image, read_image_file

_DIGITS, _MOST_DIGITS = 4, 16
"""Decimals of a cosine."""


@dataclass(frozen=True)
class Verdict:
    """A network's decision on two faces.

    Attributes:
        cosine: Similarity, -1 to 1.
        threshold: Least cosine of a mated pair; None where none is known.
        source: Where the threshold comes from.
    """

    cosine: float
    threshold: float | None
    source: str

    @property
    def same(self) -> bool | None:
        """Whether both show one identity; None without a threshold."""
        return None if self.threshold is None else self.cosine >= self.threshold

    def line(self) -> str:
        """Return the verdict as one line."""
        if self.threshold is None:
            return f"cosine {self.cosine:.4f}; no threshold is known: give --threshold"
        answer = "same person" if self.same else "different people"
        cosine, threshold = _told_apart(self.cosine, self.threshold)
        return f"{answer}: cosine {cosine}, threshold {threshold} ({self.source})"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain values for JSON."""
        return {
            "same": self.same,
            "cosine": self.cosine,
            "threshold": self.threshold,
            "threshold_from": None if self.threshold is None else self.source,
        }


def _told_apart(first: float, second: float) -> tuple[str, str]:
    """Return two numbers as text, with as many digits as it takes to see that they differ."""
    for digits in range(_DIGITS, _MOST_DIGITS):
        texts = f"{first:.{digits}f}", f"{second:.{digits}f}"
        if texts[0] != texts[1] or first == second:
            return texts
    return repr(first), repr(second)


def verify_images(
    network: FaceNetwork | OnnxNetwork,
    first: str | Path,
    second: str | Path,
    threshold: float | None = None,
    detector: Detector | None = None,
) -> Verdict:
    """Compare two aligned crops, or the largest faces of two photographs.

    Args:
        network: Whose embeddings decide.
        first: An image file; it is turned as its EXIF orientation says.
        second: Another, of the same size.
        threshold: Least cosine of a mated pair; by default the network's own for the
            smallest false accept rate it knows.
        detector: Finds the face of each, which is cut out aligned; None takes them for crops.

    Raises:
        FacedistillError: If a file is no image, the crops differ in size, a photograph has no face,
            the threshold is not a cosine, or an embedding has no direction.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise FacedistillError(f"threshold {threshold:g} is not a cosine: take -1 to 1")
    left, right = (
        decode_image(read_image_file(Path(path)), str(path), upright=True)
        for path in (first, second)
    )
    if detector is not None:
        size = network.input.size
        left, right = (
            _face_of(photo, path, detector, size)
            for photo, path in ((left, first), (right, second))
        )
    if left.shape != right.shape:
        raise FacedistillError(
            f"{first} is {left.shape[1]}x{left.shape[0]} and {second} is "
            f"{right.shape[1]}x{right.shape[0]}: align both to one size"
        )
    embeddings = network.embed(np.stack([left, right])).cpu().numpy().astype(np.float64)
    for path, embedding in zip((first, second), embeddings, strict=True):
        if not np.isfinite(embedding).all() or not embedding.any():
            raise FacedistillError(
                f"{network.name} gives {path} an embedding that is all zero or not finite, which "
                "decides nothing: check its weights and its input (--mean, --std)"
            )
    a, b = embeddings
    source, known = "given", network.thresholds
    if threshold is None and known:
        strictest = min(known, key=float)
        threshold, source = known[strictest], f"FAR {strictest}"
    return Verdict(float(a @ b), threshold, source)


def _face_of(photo: np.ndarray, path: str | Path, detector: Detector, size: int) -> np.ndarray:
    """Return the aligned crop of a photograph's largest face."""
    face, count = largest_face(photo, detector)
    if face is None:
        raise FacedistillError(
            f"{path}: no face of {MIN_SIZE:g} pixels or more is found: give another photo, or a "
            "crop without --detect"
        )
    if count > 1:
        warnings.warn(f"{path} has {count} faces: the largest is compared", stacklevel=3)
    return warp(photo, face.landmarks, size)
