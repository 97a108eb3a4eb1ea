"""Same person? Two aligned crops, one score, one verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from facedistill.errors import FacedistillError


@dataclass(frozen=True)
class Verdict:
    """What a network says of two faces.

    Attributes:
        cosine: Similarity, -1 to 1.
        threshold: Least cosine that means the same person; None where none is known.
        source: Where the threshold comes from.
    """

    cosine: float
    threshold: float | None
    source: str

    @property
    def same(self) -> bool | None:
        """Whether it is the same person; None without a threshold."""
        return None if self.threshold is None else self.cosine >= self.threshold

    def line(self) -> str:
        """Return the verdict as one line."""
        if self.threshold is None:
            return f"cosine {self.cosine:.4f}; no threshold is known: give --threshold"
        answer = "same person" if self.same else "different people"
        return f"{answer}: cosine {self.cosine:.4f}, threshold {self.threshold:.4f} ({self.source})"


def compare_faces(
    embed: Callable[[np.ndarray], Any],
    first: np.ndarray,
    second: np.ndarray,
    thresholds: dict[str, float],
    threshold: float | None = None,
) -> Verdict:
    """Compare two faces.

    Args:
        embed: Gives unit embeddings (2, D) of uint8 RGB (2, H, H, 3).
        first: uint8 RGB, an aligned crop.
        second: uint8 RGB, another.
        thresholds: The network's own, by the false accept rate they were set for.
        threshold: A threshold to use instead.

    Raises:
        FacedistillError: If the crops differ in size.
    """
    if first.shape != second.shape:
        raise FacedistillError(
            f"the crops are of sizes {first.shape[:2]} and {second.shape[:2]}: align both to one"
        )
    left, right = np.asarray(embed(np.stack([first, second])), np.float64)
    source = "given"
    if threshold is None and thresholds:
        strictest = min(thresholds, key=float)
        threshold, source = thresholds[strictest], f"FAR {strictest}"
    return Verdict(float(left @ right), threshold, source)
