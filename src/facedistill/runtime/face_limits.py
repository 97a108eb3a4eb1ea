"""Which found faces are good enough: large, sure, sharp and frontal enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.alignment import ARCFACE_SIZE
from facedistill.runtime.detection import MIN_SCORE, MIN_SIZE, DetectedFace


@dataclass(frozen=True)
class Fault:
    """Why a face is not taken.

    Attributes:
        reason: In words without figures of this face, to be counted.
        figure: What this face has instead; empty where there is none.
    """

    reason: str
    figure: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.figure}" if self.figure else self.reason


@dataclass(frozen=True, kw_only=True)
class FaceLimits:
    """Limits of the faces that are taken.

    Attributes:
        min_size: Least side of a face's box, in pixels of the photograph.
        min_score: Least score of the detector, 0 to 1.
        min_sharpness: Least sharpness (see `sharpness`); 0 takes all.
        max_yaw: Most degrees that a head may be turned aside; 90 takes all.

    Raises:
        FacedistillError: If a value is out of range.
    """

    min_size: float = MIN_SIZE
    min_score: float = MIN_SCORE
    min_sharpness: float = 0.0
    max_yaw: float = 90.0

    def __post_init__(self) -> None:
        for flag, value, low, high in (
            ("--min-size", self.min_size, 8, 10_000),
            ("--min-score", self.min_score, 0.1, 1),
            ("--min-sharpness", self.min_sharpness, 0, 1e6),
            ("--max-yaw", self.max_yaw, 0, 90),
        ):
            if not low <= value <= high:
                raise FacedistillError(f"{flag} {value:g}: give {low:g} to {high:g}")

    def fault_of_found(self, face: DetectedFace) -> Fault | None:
        """Return why a face that was found is not taken, as far as its box and score tell."""
        if face.size < self.min_size:
            return Fault(f"smaller than {self.min_size:g} pixels", f"{face.size:.0f}")
        if face.score < self.min_score:
            return Fault(f"score below {self.min_score:g}", f"{face.score:.2f}")
        return None

    def fault_of_crop(self, yaw: float, sharp: float) -> Fault | None:
        """Return why a face is not taken, as far as its yaw and its crop's sharpness tell.

        Args:
            yaw: Degrees, see `DetectedFace.yaw`.
            sharp: See `sharpness`.
        """
        if abs(yaw) > self.max_yaw:
            return Fault(f"turned by more than {self.max_yaw:g} degrees", f"{yaw:.0f}")
        if sharp < self.min_sharpness:
            return Fault(f"sharpness below {self.min_sharpness:g}", f"{sharp:g}")
        return None


def sharpness(crop: np.ndarray) -> float:
    """Return the variance of the Laplacian of a grey crop at 112 x 112: small where it is blurred.

    Args:
        crop: uint8 RGB (H, H, 3), aligned.
    """
    import cv2  # As in `alignment`: a device may do without.

    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if len(grey) != ARCFACE_SIZE:
        grey = cv2.resize(grey, (ARCFACE_SIZE, ARCFACE_SIZE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())
