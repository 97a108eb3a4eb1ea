"""Procedural faces: an endless labelled face data set that needs no download and no consent.

A face is rendered from some eighty continuous traits of a person and thirty circumstances of a
photograph, with exact landmarks. The same numbers give the same face on every run.
"""

from __future__ import annotations

import numpy as np

from facedistill.faces.alignment import ARCFACE_SIZE
from facedistill.faces.identity import draw_identity
from facedistill.faces.nuisance import draw_nuisance
from facedistill.faces.rendering import render

PROCEDURAL_VERSION = 1
"""Grows whenever the same arguments give other pixels; belongs into every key."""


def procedural_face(
    seed: int, identity: int, image: int, size: int = ARCFACE_SIZE, difficulty: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Render photograph number `image` of person number `identity`.

    Args:
        seed: Which world of people, 0 or more.
        identity: Which person, 0 or more.
        image: Which photograph of the person, 0 or more.
        size: Side of the crop in pixels, 16 to 1024.
        difficulty: How much photographs of a person differ, 0 to 1.5 (see `draw_nuisance`).

    Returns:
        uint8 RGB (size, size, 3) and float32 (5, 2) landmarks (see `render`). They depend on the
        arguments and `PROCEDURAL_VERSION` alone.

    Raises:
        FacedistillError: If `size` or `difficulty` is out of range.
    """
    # NumPy pads seeds with zeros: without the leading marks person 7 and its photograph 0 would
    # draw the same numbers.
    person = draw_identity(np.random.default_rng((1, seed, identity)))
    circumstances = draw_nuisance(np.random.default_rng((2, seed, identity, image)), difficulty)
    return render(person, circumstances, size)
