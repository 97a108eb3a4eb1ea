"""Pairs of images as verification is measured on them, and what makes them unusable."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from facedistill.core.errors import FacedistillError

MIN_IDENTITIES = 10
"""Genuine and impostor pairs must each show this many identities for these to be resampled."""


class ImagePairs(Protocol):
    """What a set of pairs offers; `facedistill.data.pairs.pair_set.PairSet` is one."""

    @property
    def name(self) -> str:
        """What to call it in messages and reports."""
        ...

    @property
    def pairs(self) -> np.ndarray:
        """int64 (P, 2), images."""
        ...

    @property
    def same(self) -> np.ndarray:
        """Whether each pair is of one identity, bool (P,)."""
        ...

    @property
    def folds(self) -> np.ndarray | None:
        """Each pair's fold, int (P,), or None for contiguous folds."""
        ...

    @property
    def identities(self) -> np.ndarray | None:
        """Each image's identity, int (N,), -1 where unknown, or None."""
        ...

    def image(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 RGB (H, W, 3)."""
        ...


def check_pairs(pairset: ImagePairs) -> None:
    """Refuse pairs that would make a figure mean something else than it says.

    Raises:
        FacedistillError: If a pair is listed twice (in either order) or joins an image to itself,
            or labels do not fit the pairs.
    """
    pairs = np.asarray(pairset.pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) != len(pairset.same):
        raise FacedistillError(
            f"{pairset.name}: pairs have shape {pairs.shape} and there are {len(pairset.same)} "
            "labels: give two images and one label per pair"
        )
    itself = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(itself):
        raise FacedistillError(
            f"{pairset.name}: pair {itself[0]} joins image {pairs[itself[0], 0]} to itself: "
            "remove it"
        )
    _, first, counts = np.unique(
        np.sort(pairs, axis=1), axis=0, return_index=True, return_counts=True
    )
    if counts.size and counts.max() > 1:
        left, right = pairs[first[np.argmax(counts > 1)]]
        raise FacedistillError(
            f"{pairset.name}: the pair of images {left} and {right} is listed "
            f"{counts[np.argmax(counts > 1)]} times ({int((counts > 1).sum())} such pairs): "
            "list each pair once"
        )


def pair_identities(pairset: ImagePairs) -> np.ndarray | None:
    """Return the two identities of every pair, int (P, 2); None where one is not known."""
    if pairset.identities is None:
        return None
    identities = np.asarray(pairset.identities)[pairset.pairs]
    return None if (identities < 0).any() else identities


def resampleable(identities: np.ndarray | None, same: np.ndarray) -> np.ndarray | None:
    """Return the pairs' identities where they are enough that every resample has both kinds."""
    if identities is None:
        return None
    fewest = min(len(np.unique(identities[same])), len(np.unique(identities[~same])))
    return identities if fewest >= MIN_IDENTITIES else None
