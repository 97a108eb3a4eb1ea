"""The chart of a procedural head: directions from its origin as two coordinates.

Head space: decimetres, x to the image's right, y downwards, z out of the face; the origin lies
inside the head between the ears, 15 mm below the eyes. The surface is star-shaped about it: one
radius a direction, hair and ears included. Directions are written in a stereographic *chart*
(u, v) = SPAN * (x, y) / (|p| + z), whose unit is about a decimetre in the middle of the face.
"""

from __future__ import annotations

import numpy as np

SPAN = 1.8
"""Chart units for a stereographic unit: makes chart lengths about decimetres on the face."""
CELLS = 160
"""Cells of the chart's maps a side."""
REACH = 3.6
"""The chart covers |u|, |v| <= REACH: 127 degrees from straight ahead."""
FOLD = 0.35
"""The maps' cells are finer in the middle: cell coordinate = u / (1 + FOLD |u|)."""
EDGE = REACH / (1 + FOLD * REACH)
_KNOTS = np.linspace(-EDGE, EDGE, CELLS)
AXIS = (_KNOTS / (1 - FOLD * np.abs(_KNOTS))).astype(np.float32)
"""float32 (CELLS,), the chart coordinate of each row or column of the maps."""
CHART_U = np.broadcast_to(AXIS[None, :], (CELLS, CELLS))
CHART_V = np.broadcast_to(AXIS[:, None], (CELLS, CELLS))


def chart_directions(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the unit vectors (3, ...) of chart coordinates."""
    x, y = np.asarray(u) / SPAN, np.asarray(v) / SPAN
    square = x * x + y * y
    return np.stack([2 * x, 2 * y, 1 - square]) / (1 + square)


DIRECTIONS = chart_directions(CHART_U, CHART_V).astype(np.float32)


def soft_step(x: np.ndarray, width: float) -> np.ndarray:
    """Return a ramp from 0 to 1 as `x` goes from -width / 2 to width / 2."""
    ramp = x * np.float32(1.0 / width)
    ramp += np.float32(0.5)
    # Two ufuncs with `out` cost half of what np.clip does on windows of a few hundred pixels.
    np.maximum(ramp, 0.0, out=ramp)
    return np.minimum(ramp, 1.0, out=ramp)


def bell(x: np.ndarray, width: float) -> np.ndarray:
    """Return exp(-(x / width)^2 / 2)."""
    square = x * np.float32(1.0 / width)
    square *= square
    square *= np.float32(-0.5)
    return np.exp(square, out=square)
