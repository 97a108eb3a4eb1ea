"""Procedural faces: an endless labelled face data set that needs no download and no consent.

A face is rendered from some eighty continuous traits of an identity and thirty circumstances of a
photograph, with exact landmarks. The same numbers give the same face on every run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.synthetic.nuisance import Nuisance, draw_nuisance
from facedistill.faces.synthetic.rendering import render
from facedistill.faces.synthetic.traits import draw_identity
from facedistill.runtime.alignment import ARCFACE_SIZE, ARCFACE_TEMPLATE

PROCEDURAL_VERSION = 1
"""Grows whenever the same arguments give other pixels; belongs into every key."""

LOOSE_ROTATION = 20.0
"""Largest in-plane rotation of a loose crop, degrees either way."""
LOOSE_SCALE = (0.75, 1.2)
"""Smallest and largest size of a face in a loose crop, 1 that of an aligned one."""
LOOSE_SHIFT = 13.0
"""Largest shift of the face's middle from the crop's, of 112 pixels, in x and in y."""


def procedural_face(
    seed: int,
    identity: int,
    image: int,
    size: int = ARCFACE_SIZE,
    difficulty: float = 1.0,
    *,
    loose: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Render photograph number `image` of identity number `identity`.

    Args:
        seed: Which world of identities, 0 or more.
        identity: Which identity, 0 or more.
        image: Which photograph of the identity, 0 or more.
        size: Side of the crop in pixels, 16 to 1024.
        difficulty: How much photographs of an identity differ, 0 to 1.5 (see `draw_nuisance`).
        loose: Share, 0 to 1, of the largest rotation, scale and shift of a loose crop, such as a
            face detector gives: to find landmarks in, or to align. 0 is an aligned crop.

    Returns:
        uint8 RGB (size, size, 3) and float32 (5, 2) landmarks (see `render`). They depend on the
        arguments and `PROCEDURAL_VERSION` alone.

    Raises:
        FacedistillError: If `size`, `difficulty` or `loose` is out of range.
    """
    if not 0.0 <= loose <= 1.0:
        raise FacedistillError(f"procedural faces with loose={loose}: give 0 to 1")
    # NumPy pads seeds with zeros: without the leading marks identity 7 and its photograph 0 would
    # draw the same numbers.
    drawn = draw_identity(np.random.default_rng((1, seed, identity)))
    circumstances = draw_nuisance(np.random.default_rng((2, seed, identity, image)), difficulty)
    if loose:
        rng = np.random.default_rng((3, seed, identity, image))
        circumstances = _loosened(circumstances, loose, rng)
    return render(drawn, circumstances, size)


def _loosened(nuisance: Nuisance, loose: float, rng: np.random.Generator) -> Nuisance:
    """Turn, scale and shift a photograph about the middle of its crop."""
    turn, scale, right, down = rng.random(4).tolist()
    roll = nuisance.roll + loose * LOOSE_ROTATION * (2 * turn - 1)
    size = nuisance.scale * (LOOSE_SCALE[0] + (LOOSE_SCALE[1] - LOOSE_SCALE[0]) * scale) ** loose
    # An aligned crop has the face below its middle, where a loose one has it.
    middle = complex(*(ARCFACE_TEMPLATE.mean(axis=0) - ARCFACE_SIZE / 2))
    back = -loose * middle * size * np.exp(1j * np.radians(roll))
    return replace(
        nuisance,
        roll=roll,
        scale=size,
        shift_x=nuisance.shift_x + float(back.real) + loose * LOOSE_SHIFT * (2 * right - 1),
        shift_y=nuisance.shift_y + float(back.imag) + loose * LOOSE_SHIFT * (2 * down - 1),
    )
