"""Verification of two aligned crops: one score, one decision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_file import decode_image, read_image_file
from facedistill.models.face_network import FaceNetwork
from facedistill.models.onnx_network import OnnxNetwork

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
) -> Verdict:
    """Compare two aligned crops.

    Args:
        network: Whose embeddings decide.
        first: An image file; it is turned as its EXIF orientation says.
        second: Another, of the same size.
        threshold: Least cosine of a mated pair; by default the network's own for the
            smallest false accept rate it knows.

    Raises:
        FacedistillError: If a file is no image, the crops differ in size, the threshold is not a
            cosine, or an embedding has no direction.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise FacedistillError(f"threshold {threshold:g} is not a cosine: take -1 to 1")
    left, right = (
        decode_image(read_image_file(Path(path)), str(path), upright=True)
        for path in (first, second)
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
