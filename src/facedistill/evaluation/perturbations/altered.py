"""The same pairs with one image of each, or both, altered: masked, shrunk, blurred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.image_pairs import ImagePairs

Which = Literal["one", "both"]
"""Which images of a pair are altered: the second, or both."""

Alteration = Callable[[np.ndarray, int], np.ndarray]
"""Answers an image, uint8 RGB (H, W, 3), and its index in the set with the image altered."""


class AlteredPairs:
    """A set of pairs in which the second image of each, or both, is altered.

    An image is altered in one and the same way in all its pairs. Where it is the first of one pair
    and the second of another, `one` leaves it alone in the former and alters it in the latter.

    Args:
        pairset: The pairs.
        alter: What happens to an image.
        which: Which images.

    Raises:
        FacedistillError: If there is no such choice.
    """

    def __init__(self, pairset: ImagePairs, alter: Alteration, which: Which) -> None:
        if which not in get_args(Which):
            raise FacedistillError(
                f"{which!r} images of pairs: take {' or '.join(get_args(Which))}"
            )
        self.plain, self.alter = pairset, alter
        self.name, self.same, self.folds = pairset.name, pairset.same, pairset.folds
        pairs = np.asarray(pairset.pairs)
        self.count = int(pairs.max(initial=-1)) + 1
        """Images from here on are those before, altered."""
        self.pairs = pairs + self.count * np.array([which == "both", True])

    def __len__(self) -> int:
        """Return the number of images, plain and altered."""
        return 2 * self.count

    @property
    def identities(self) -> np.ndarray | None:
        """The identity of each image, plain images and then altered ones, or None."""
        if self.plain.identities is None:
            return None
        identities = np.asarray(self.plain.identities)[: self.count]
        return np.concatenate([identities, identities])

    def image(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 RGB (H, W, 3), altered where it is to be.

        Raises:
            FacedistillError: If it cannot be read, or cannot be altered so.
        """
        if index < self.count:
            return self.plain.image(index)
        original = index - self.count
        try:
            return self.alter(self.plain.image(original), original)
        except FacedistillError as error:
            raise FacedistillError(f"{self.name} image {original}: {error}") from error
