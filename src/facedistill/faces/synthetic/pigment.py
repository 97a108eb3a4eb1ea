"""Pigments of skin and hair, and how one colour is laid over another."""

from __future__ import annotations

import numpy as np

from facedistill.faces.synthetic.traits import Identity

_LIGHT_SKIN = np.array([0.80, 0.54, 0.42], dtype=np.float32)


_DARK_SKIN = np.array([0.115, 0.055, 0.034], dtype=np.float32)


def blend(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> None:
    """Lay a colour (3,) or image (3, H, W) over an image in place by its cover (H, W)."""
    above = np.asarray(above, dtype=np.float32)
    difference = above.reshape(3, *(above.shape[1:] or (1, 1))) - below
    difference *= cover
    below += difference


def skin_colour(identity: Identity) -> np.ndarray:
    """Return the skin's linear albedo (3,): pigments absorb, so they add up in the logarithm."""
    tone = np.exp(
        (1 - identity.melanin) * np.log(_LIGHT_SKIN) + identity.melanin * np.log(_DARK_SKIN)
    )
    red = np.array([0.06, -0.10, -0.10], dtype=np.float32) * identity.redness
    return (tone * np.exp(red)).astype(np.float32)


def hair_pigment(identity: Identity) -> np.ndarray:
    """Return the hair's linear albedo (3,)."""
    dark, red = identity.hair_pigment, identity.hair_redness
    absorbed = np.array([0.74, 1.0, 1.36]) * (0.4 + 5.5 * dark**1.2)
    absorbed += red * (1 - 0.7 * dark) * np.array([-0.1, 0.6, 0.9])
    grown = 0.8 * np.exp(-absorbed)
    return (grown + identity.hair_grey * (0.45 - grown) + 0.006).astype(np.float32)
