"""Verification of people who wear face masks, on pairs of people who do not.

The protocol of the Masked Face Recognition Challenge (Deng et al., ICCV Workshops 2021) compares a
masked probe with an unmasked gallery image; here the masks are drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from facedistill.errors import FacedistillError
from facedistill.faces.mask import MaskParameters, render_mask

if TYPE_CHECKING:
    from facedistill.evaluation.pairs import Pairs

Masked = Literal["one", "both"]
"""Which images of a pair wear a mask: the second, or both."""


class MaskedPairs:
    """A set of pairs in which the second image of each, or both, wears a mask.

    An image wears one and the same mask in all its pairs, drawn from the seed and the image's index
    in the set. Where it is the first of one pair and the second of another, `one` leaves it plain
    in the former and masks it in the latter.

    Args:
        pairset: The pairs; their images are aligned crops.
        masked: Which images.
        seed: Of the masks, 0 or more.

    Raises:
        FacedistillError: If there is no such choice or seed.
    """

    def __init__(self, pairset: Pairs, masked: Masked, seed: int = 0) -> None:
        if masked not in get_args(Masked):
            raise FacedistillError(
                f"mask {masked!r} of pairs: take {' or '.join(get_args(Masked))}"
            )
        if seed < 0:
            raise FacedistillError(f"seed {seed} of masks: give 0 or more")
        self.plain, self.seed = pairset, seed
        self.name, self.same, self.folds = pairset.name, pairset.same, pairset.folds
        pairs = np.asarray(pairset.pairs)
        self.count = int(pairs.max(initial=-1)) + 1
        """Images from here on are those before, masked."""
        self.pairs = pairs + self.count * np.array([masked == "both", True])

    def __len__(self) -> int:
        """Return the number of images, plain and masked."""
        return 2 * self.count

    @property
    def identities(self) -> np.ndarray | None:
        """Each image's person, plain images and then masked ones, or None."""
        if self.plain.identities is None:
            return None
        people = np.asarray(self.plain.identities)[: self.count]
        return np.concatenate([people, people])

    def image(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 RGB (H, W, 3), with its mask where it wears one.

        Raises:
            FacedistillError: If it cannot be read, or is too small for a mask.
        """
        if index < self.count:
            return self.plain.image(index)
        original = index - self.count
        mask = MaskParameters.draw(np.random.default_rng((self.seed, original)))
        try:
            return render_mask(self.plain.image(original), mask)
        except FacedistillError as error:
            raise FacedistillError(f"{self.name} image {original}: {error}") from error
