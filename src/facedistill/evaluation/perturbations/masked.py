"""Verification of identities that wear face masks, on pairs of identities that do not.

The protocol of the Masked Face Recognition Challenge (Deng et al., ICCV Workshops 2021) compares a
masked probe with an unmasked gallery image; here the masks are drawn.
"""

from __future__ import annotations

from typing import get_args

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.image_pairs import ImagePairs
from facedistill.evaluation.perturbations.altered import AlteredPairs, Which
from facedistill.faces.masks.face_mask import render_mask
from facedistill.faces.masks.mask_parameters import MaskParameters

Masked = Which
"""Which images of a pair wear a mask: the second, or both."""


class MaskedPairs(AlteredPairs):
    """A set of pairs in which the second image of each, or both, wears a mask.

    An image wears one and the same mask in all its pairs, drawn from the seed and the image's index
    in the set; see `AlteredPairs`.

    Args:
        pairset: The pairs; their images are aligned crops.
        masked: Which images.
        seed: Of the masks, 0 or more.

    Raises:
        FacedistillError: If there is no such choice or seed.
    """

    def __init__(self, pairset: ImagePairs, masked: Masked, seed: int = 0) -> None:
        check_mask(masked)
        check_mask_seed(seed)
        super().__init__(pairset, lambda image, index: put_on_mask(image, index, seed), masked)


def check_mask(masked: str | None) -> None:
    """Refuse a choice of images to mask that there is not.

    Raises:
        FacedistillError: Naming the choices.
    """
    if masked not in (None, *get_args(Masked)):
        raise FacedistillError(f"mask {masked!r} of pairs: take {' or '.join(get_args(Masked))}")


def check_mask_seed(seed: int) -> None:
    """Refuse a seed from which no mask is drawn.

    Raises:
        FacedistillError: If it is below 0.
    """
    if seed < 0:
        raise FacedistillError(f"seed {seed} of masks: give 0 or more")


def put_on_mask(image: np.ndarray, index: int, seed: int) -> np.ndarray:
    """Return an aligned crop with the mask that image `index` of a set wears.

    Args:
        image: uint8 RGB (H, W, 3).
        index: The image's place in its set.
        seed: Of the set's masks, 0 or more.

    Raises:
        FacedistillError: If the image is too small for a mask.
    """
    return render_mask(image, MaskParameters.draw(np.random.default_rng((seed, index))))
