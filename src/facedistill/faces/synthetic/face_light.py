"""Light on the pigments of a head."""

from __future__ import annotations

import numpy as np

from facedistill.faces.synthetic.head_sight import pose
from facedistill.faces.synthetic.nuisance import Nuisance


def light_up(
    colour: np.ndarray,
    nuisance: Nuisance,
    normal: np.ndarray,
    hollow: np.ndarray,
    gloss: np.ndarray,
) -> None:
    """Light the pigments in place: a lamp, a sky, hollows that see less of both, a little gloss."""
    azimuth, elevation = np.radians(nuisance.light_azimuth), np.radians(nuisance.light_elevation)
    lamp = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )
    back = pose(nuisance.yaw, nuisance.pitch).T
    lamp, sky, eye = (
        back @ lamp,
        back @ np.array([0.0, -1.0, 0.0]),
        back @ np.array([0.0, 0.0, 1.0]),
    )
    direct = _dot(normal, lamp)
    # Light bleeds a little round the terminator under skin.
    direct += np.float32(0.12)
    direct *= np.float32(1 / 1.12)
    np.maximum(direct, 0.0, out=direct)
    ambient = _dot(normal, sky)
    ambient *= np.float32(0.25)
    ambient += np.float32(0.75)
    open_to = np.clip(1 - 5.0 * np.maximum(hollow, -0.03), 0.35, 1.15)
    ambient *= open_to
    strength = nuisance.light_strength
    shade = 1.35 * strength * direct * np.sqrt(open_to) + 0.9 * (1 - strength) * ambient
    half = lamp + eye
    half /= max(float(np.linalg.norm(half)), 1e-6)
    shine = np.maximum(_dot(normal, half), 0.0)
    for _ in range(4):
        shine *= shine
    shine *= gloss
    shine *= np.float32(0.10 * strength)
    colour *= shade
    colour += shine


def _dot(normal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    x, y, z = direction.astype(np.float32)
    total = normal[0] * x
    total += normal[1] * y
    total += normal[2] * z
    return total
