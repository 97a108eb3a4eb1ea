"""Painting skin, hair, beard and moles."""

from __future__ import annotations

import numpy as np

from facedistill.faces.synthetic.head_chart import (
    bell,
    soft_step,
)
from facedistill.faces.synthetic.head_geometry import (
    surface_points,
)
from facedistill.faces.synthetic.head_sight import Camera, Sight
from facedistill.faces.synthetic.noise_texture import texture
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.pigment import blend, hair_pigment, skin_colour
from facedistill.faces.synthetic.traits import Identity
from facedistill.runtime.alignment import ARCFACE_SIZE


def paint_skin(identity: Identity, sight: Sight, hollow: np.ndarray) -> np.ndarray:
    """Return the skin's colours (3, H, W): its grain, flush, freckles and lines."""
    grain = texture(1, 90 * sight.u, 90 * sight.v, identity.mark_seed)
    strength = 1 + identity.skin_grain * 0.35 * grain
    across = np.abs(sight.u)
    flush = identity.blush * bell(across - 0.42, 0.18) * bell(sight.v - 0.18, 0.15)
    flush += 0.6 * identity.blush * bell(sight.u, 0.12) * bell(sight.v - identity.nose_level, 0.10)
    if identity.freckles > 0:
        spots = texture(1, 170 * sight.u, 170 * sight.v, identity.mark_seed // 7)
        spots = soft_step(spots - 1.1, 0.5) * bell(sight.v - 0.08, 0.22) * bell(across, 0.5)
        strength *= 1 - 0.55 * identity.freckles * spots
    lines = identity.laugh_lines * _laugh_lines(identity, sight)
    if identity.forehead_lines > 0:
        waves = np.cos((sight.v + 0.03 * np.cos(4 * sight.u)) * (2 * np.pi / 0.10))
        lines += (
            identity.forehead_lines
            * 0.5
            * np.clip(waves, 0, 1)
            * bell(sight.v + 0.5, 0.08)
            * bell(sight.u, 0.3)
        )
    strength *= 1 - 0.45 * lines
    tone = skin_colour(identity)
    colour = tone[:, None, None] * strength
    colour[1] *= 1 - 0.35 * flush
    colour[2] *= 1 - 0.35 * flush
    return colour


def _laugh_lines(identity: Identity, sight: Sight) -> np.ndarray:
    down = sight.v - identity.nose_level
    line = identity.nose_width + 0.03 + 0.45 * down
    reach = max(identity.mouth_level - identity.nose_level + 0.05, 0.1)
    return bell(np.abs(sight.u) - line, 0.022) * bell(down - 0.45 * reach, 0.42 * reach)


def hair_colour(identity: Identity, sight: Sight) -> np.ndarray:
    """Return the hair's colours (3, H, W), in strands or curls."""
    grain = texture(6, 75 * sight.u, 30 * sight.v, identity.mark_seed)
    if identity.hair_curl > 0:
        curls = texture(1, 45 * sight.u, 45 * sight.v, identity.mark_seed)
        grain = identity.hair_curl * curls + (1 - identity.hair_curl) * grain
    return hair_pigment(identity)[:, None, None] * np.clip(1 + 0.33 * grain, 0.15, 2.5)


def paint_beard(
    colour: np.ndarray, identity: Identity, nuisance: Nuisance, sight: Sight, beard: np.ndarray
) -> None:
    """Lay beard and moustache over the skin in place."""
    if identity.beard == 0 and identity.moustache == 0:
        return
    bristle = texture(1, 140 * sight.u, 110 * sight.v, identity.mark_seed // 3)
    cover = beard * (1 + nuisance.stubble) * (0.80 + 0.25 * bristle)
    blend(colour, 0.9 * hair_pigment(identity), np.clip(cover, 0.0, 0.95))


def paint_moles(
    colour: np.ndarray,
    identity: Identity,
    skin: np.ndarray,
    camera: Camera,
    sight: Sight,
    size: int,
) -> None:
    """Draw the moles where they have grown, each in a small window of the image."""
    count = round(identity.moles)
    if not count:
        return
    rng = np.random.default_rng(identity.mark_seed)
    places = rng.uniform((-0.8, -0.5), (0.8, 0.95), (7, 2))[:count]
    widths = rng.uniform(0.008, 0.026, 7)[:count]
    spots = camera.project(surface_points(skin, places))
    margin = 5 * size // ARCFACE_SIZE + 1
    brown = skin_colour(identity) * np.array([0.35, 0.25, 0.22])
    for (u, v), width, (x, y) in zip(places, widths, np.rint(spots).astype(int), strict=True):
        rows = slice(max(y - margin, 0), max(y + margin, 0))
        columns = slice(max(x - margin, 0), max(x + margin, 0))
        cover = bell(sight.u[rows, columns] - u, width) * bell(sight.v[rows, columns] - v, width)
        blend(colour[:, rows, columns], brown, 0.85 * cover)
