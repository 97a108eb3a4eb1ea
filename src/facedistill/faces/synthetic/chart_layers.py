"""The layers of a head's chart: hair, beard and mask on the bald skin."""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.faces.synthetic.head_chart import (
    AXIS,
    CELLS,
    CHART_U,
    CHART_V,
    bell,
    soft_step,
)
from facedistill.faces.synthetic.head_geometry import (
    Features,
    hair_cover,
    hair_height,
    surface_normals,
)
from facedistill.faces.synthetic.head_sight import Sight
from facedistill.faces.synthetic.noise_texture import TILE, noise_tile
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.traits import Identity


def dress(
    identity: Identity, nuisance: Nuisance, at: Features, skin: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Put hair and mask on the bald head.

    Returns:
        The radius map with them, and two maps to sample: (CELLS, CELLS, 4) of normal and hair
        cover, (CELLS, CELLS, 3) of beard cover, mask cover and hollowness.
    """
    grain = _strands(identity)
    hair = hair_cover(identity, nuisance, grain)
    radius = skin + hair_height(identity, nuisance, hair, grain)
    cloth = np.zeros_like(radius)
    if nuisance.cover == "mask":
        cloth = _mask_cover(nuisance, at)
        shell = cv2.GaussianBlur(skin, (0, 0), 5.0) + 0.05
        radius += cloth * (np.maximum(shell, skin + 0.02) - radius)
    radius = radius.astype(np.float32)
    normal = surface_normals(radius)
    hollow = cv2.blur(radius, (13, 13)) - radius
    front = cv2.merge([*normal, hair.astype(np.float32)])
    back = cv2.merge([_beard_cover(identity, at), cloth.astype(np.float32), hollow])
    return radius, (front, back)


def sample_layers(layers: tuple[np.ndarray, np.ndarray], sight: Sight) -> tuple[np.ndarray, ...]:
    """Return normal (3, H, W), hair, beard, mask cover and hollowness (H, W) at each pixel."""
    front, back = (
        cv2.remap(
            layer, sight.cell_x, sight.cell_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        for layer in layers
    )
    *normal, hair = cv2.split(front)
    beard, cloth, hollow = cv2.split(back)
    return np.stack(normal), hair, beard, cloth, hollow


def _strands(identity: Identity) -> np.ndarray:
    """Return the hair's grain on the chart: streaks, or curls."""
    streaks = _cut(noise_tile(6), identity.mark_seed)
    if identity.hair_curl == 0:
        return streaks
    return (
        identity.hair_curl * _cut(noise_tile(1), identity.mark_seed)
        + (1 - identity.hair_curl) * streaks
    )


def _cut(noise: np.ndarray, seed: int) -> np.ndarray:
    x, y = seed % TILE, (seed // TILE) % TILE
    return noise[y : y + CELLS, x : x + CELLS]


def _beard_cover(identity: Identity, at: Features) -> np.ndarray:
    if identity.beard == 0 and identity.moustache == 0:
        return np.zeros((CELLS, CELLS), dtype=np.float32)
    across = np.abs(AXIS)
    lip_top = at.mouth_v - identity.upper_lip - 0.5 * at.mouth_gap
    cheek_line = (
        identity.beard_level - 0.45 * np.square(np.minimum(across, 1.1)) + 0.12 * bell(across, 0.2)
    )
    chin = soft_step(CHART_V - cheek_line[None, :], 0.14)
    chin *= soft_step(CHART_V - (at.mouth_v - 0.02), 0.1) + soft_step(
        np.abs(CHART_U) - at.mouth_half - 0.06, 0.1
    ) * (at.mouth_v + 0.03 >= CHART_V)
    chin *= soft_step(1.55 - across, 0.25)[None, :]
    lip = bell(AXIS - (lip_top - 0.05), 0.045)[:, None] * soft_step(
        at.mouth_half + 0.04 - np.abs(AXIS - at.mouth_u), 0.08
    )
    cover = np.maximum(
        identity.beard * np.clip(chin, 0, 1), identity.moustache * np.clip(1.4 * lip, 0, 1)
    )
    return cover.astype(np.float32)


def _mask_cover(nuisance: Nuisance, at: Features) -> np.ndarray:
    rng = np.random.default_rng(nuisance.cover_seed)
    low = rng.uniform(-0.06, 0.12)
    across = np.abs(AXIS)
    top = at.eye_v + 0.55 * (at.nose_v - at.eye_v) + low + 0.10 * np.square(across)
    cover = soft_step(CHART_V - top[None, :], 0.05)
    cover *= soft_step(1.15 - across, 0.06)[None, :]
    cover *= soft_step(1.05 - AXIS, 0.08)[:, None]
    # Two straps on each side.
    for strap in (top.min() + 0.05, 0.85):
        line = bell(CHART_V - strap + 0.25 * (across[None, :] - 1.0), 0.03)
        cover = np.maximum(cover, line * soft_step(across - 1.1, 0.05)[None, :])
    return cover
