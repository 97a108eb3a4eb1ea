"""How many scores lie where: what is kept of millions of scores to draw them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 200
"""Equal bins of cosine, -1 to 1; scores of 1 are in the last."""

EDGES = np.linspace(-1, 1, BINS + 1)


@dataclass(frozen=True)
class ScoreCounts:
    """Scores of genuine and of impostor pairs, counted.

    Attributes:
        genuine: int64 (`BINS`,).
        impostors: int64 (`BINS`,).
    """

    genuine: np.ndarray
    impostors: np.ndarray


def count_scores(scores: np.ndarray, same: np.ndarray) -> ScoreCounts:
    """Count the scores of both kinds of pairs.

    Args:
        scores: (P,) cosines.
        same: (P,) bool.
    """
    return ScoreCounts(count_cosines(scores[same]), count_cosines(scores[~same]))


def count_cosines(cosines: np.ndarray) -> np.ndarray:
    """Return how many cosines lie in each bin, int64 (`BINS`,)."""
    place = np.floor((np.asarray(cosines) + 1) * (BINS / 2)).astype(np.int32)
    return np.bincount(np.clip(place, 0, BINS - 1), minlength=BINS)
