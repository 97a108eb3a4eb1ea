"""What is printed on, or folded into, the cloth of a face mask."""

from __future__ import annotations

from typing import Literal

import numpy as np

Texture = Literal["plain", "pleats", "stripes", "dots", "plaid", "camouflage"]
"""`pleats` are folds, which change the light; the others mix two colours."""

_SHARPNESS = 1.3
"""Of a print's edges: share of a colour gained per template pixel."""


def print_share(
    texture: Texture, x: np.ndarray, y: np.ndarray, period: float, angle: float, phase: float
) -> np.ndarray | None:
    """Return how much of the accent colour is at each place of the cloth.

    Args:
        texture: Which print.
        x: float32, place across the cloth in pixels of a 112-pixel crop.
        y: float32 of the same shape, place down the cloth.
        period: Distance after which the print repeats, in the same pixels.
        angle: Degrees by which it is turned.
        phase: Where it starts, in periods.

    Returns:
        float32 0..1 like `x`, or None for a texture of one colour.
    """
    if texture in ("plain", "pleats"):
        return None
    turn, wave = np.deg2rad(angle), 2 * np.pi / period
    across = (wave * np.cos(turn)) * x + ((wave * np.sin(turn)) * y + 2 * np.pi * phase)
    if texture == "stripes":
        return _edge(np.sin(across), period)
    along = (wave * np.cos(turn)) * y - (wave * np.sin(turn)) * x
    if texture == "dots":
        # The sum of two cosines peaks on a lattice that is turned by half a right angle.
        return _edge(0.5 * (np.cos(across) + np.cos(along)) - 0.3, period)
    if texture == "plaid":
        return 0.5 * (_edge(np.sin(across) - 0.2, period) + _edge(np.sin(along) - 0.2, period))
    bent = np.sin(0.61 * across + 2.0 * np.sin(0.53 * along + 5 * phase))
    return _edge(bent + np.sin(0.83 * along + 1.7 * np.sin(0.47 * across)) - 0.2, period)


def pleat_light(down: np.ndarray, count: float, phase: float) -> np.ndarray:
    """Return the light on cloth in horizontal folds, each shading the top of the next.

    Args:
        down: float32 place down the cloth, 0 at its top and 1 at its bottom.
        count: Number of folds.
        phase: Where the first begins, 0..1 of a fold.

    Returns:
        float32 factors around 1.
    """
    place = down * count + phase
    place -= np.rint(place)
    # Each fold's lip catches light just above the line of its shadow.
    line = np.exp(np.square(place) * -130.0)
    light = 0.05 * place - 0.17 * line + 0.06 * np.exp(np.square(place + 0.17) * -90.0)
    # The folds are sewn flat along both edges.
    inside = np.clip(np.minimum(down - 0.1, 0.92 - down) * 20, 0, 1)
    return 1 + inside * light


def _edge(wave: np.ndarray, period: float) -> np.ndarray:
    """Return 0..1 where a wave of slope 2 pi / period is above 0, with a soft edge."""
    return np.clip(0.5 + wave * (_SHARPNESS * period / 6), 0, 1)
