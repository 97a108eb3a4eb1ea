"""The hardest pairs of faces of a report, with their scores and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from facedistill.evaluation.metrics.exhaustive import ScoredPair
from facedistill.report.page import face_uri
from facedistill.report.sections.section import FacePair, Gallery

PAIRS_SHOWN = 12
"""Hardest pairs of each kind that a report shows."""

NO_IMAGES = "No images were at hand, so the hardest pairs are not shown."

_Image = Callable[[int], np.ndarray]


def face_gallery(
    same: bool,
    pairs: Sequence[ScoredPair],
    names: Sequence[tuple[str, str]],
    threshold: float,
    decided: str,
    errors: int,
    left: _Image,
    right: _Image,
) -> Gallery:
    """Return the hardest pairs of one kind.

    Args:
        same: Whether they are mated pairs.
        pairs: Indices of their images and scores, the hardest first.
        names: What each pair's images are called.
        threshold: Cosine from which a pair counts as mated.
        decided: The threshold and where it comes from, as text.
        errors: Pairs of this kind that are decided wrongly.
        left: Gives the first image of a pair by its index.
        right: Gives the second.
    """
    kind, error = ("genuine", "false reject") if same else ("impostor", "false accept")
    shown = [
        FacePair(
            face_uri(left(pair.probe)),
            face_uri(right(pair.gallery)),
            called,
            pair.score,
            error if (pair.score >= threshold) != same else "decided rightly",
            (pair.score >= threshold) != same,
        )
        for pair, called in zip(pairs, names, strict=True)
    ]
    return Gallery(
        f"Hardest {error}s",
        f"The {kind} pairs with the {'lowest' if same else 'highest'} scores. At {decided}, "
        f"{errors:,} of the {kind} pairs {'is' if errors == 1 else 'are'} decided wrongly.",
        shown,
    )
