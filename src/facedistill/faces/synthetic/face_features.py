"""Painting eyes, brows, nostrils and mouth, which are finer than the chart's cells."""

from __future__ import annotations

import numpy as np

from facedistill.faces.synthetic.head_chart import (
    bell,
    soft_step,
)
from facedistill.faces.synthetic.head_geometry import (
    Features,
)
from facedistill.faces.synthetic.head_sight import Sight
from facedistill.faces.synthetic.noise_texture import texture
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.pigment import blend, hair_pigment, skin_colour
from facedistill.faces.synthetic.traits import Identity
from facedistill.runtime.alignment import ARCFACE_SIZE

Window = tuple[slice, slice]


def _window(points: np.ndarray, margin: float, size: int) -> Window:
    """Return the pixels within `margin` of the box around points (N, 2)."""
    low = np.clip(np.floor(points.min(axis=0) - margin), 0, size).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + margin) + 1, 0, size).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def paint_features(
    colour: np.ndarray,
    identity: Identity,
    nuisance: Nuisance,
    at: Features,
    sight: Sight,
    landmarks: np.ndarray,
    size: int,
) -> None:
    """Draw what is finer than the chart's cells, each inside its own window of the image."""
    pixel = size / ARCFACE_SIZE
    edge = 0.026 * max(1.0 / pixel, 0.4)
    rows, columns = _window(landmarks[:2], 22 * pixel, size)
    part = colour[:, rows, columns]
    u, v = sight.u[rows, columns], sight.v[rows, columns]
    if part.size:
        _eyes(part, identity, nuisance, at, u, v, edge)
        _brows(part, identity, nuisance, at, u, v, edge)
    rows, columns = _window(landmarks[2:], 12 * pixel, size)
    part = colour[:, rows, columns]
    u, v = sight.u[rows, columns], sight.v[rows, columns]
    if part.size:
        _nostrils(part, identity, at, u, v)
        _mouth(part, identity, nuisance, at, u, v, edge)


def _eyes(
    colour: np.ndarray,
    identity: Identity,
    nuisance: Nuisance,
    at: Features,
    u: np.ndarray,
    v: np.ndarray,
    edge: float,
) -> None:
    """Draw both eyes at once on the folded face: x runs from the nose outwards."""
    side = np.sign(u)
    x = np.abs(u) - at.eye_u
    y = v - at.eye_v - side * at.eye_slant
    lidded = y + identity.eye_tilt * x
    across = x * np.float32(1 / identity.eye_width)
    arc = np.maximum(1 - np.square(across), 0.0)
    opening = (
        identity.eye_opening * (1 - nuisance.eye_closure) * (1 - 0.35 * max(nuisance.smile, 0.0))
    )
    opening *= 1 + 0.25 * nuisance.brow_raise
    low = 0.55 * identity.eye_opening * (1 - 0.5 * max(nuisance.smile, 0.0)) * np.sqrt(arc)
    upper = low + lidded if nuisance.eye_closure >= 1 else lidded + opening * arc**0.7
    lower = low * (1 - 0.6 * nuisance.eye_closure) - lidded
    inside = soft_step(np.minimum(upper, lower), edge) * (arc > 0)

    skin = skin_colour(identity)
    # Crease and shade above the lid, bag beneath.
    near = bell(across, 0.8)
    crease = bell(
        lidded + 1.05 * opening * arc + 0.028 + 0.02 * identity.lid_crease, 0.012 + edge / 4
    )
    blend(colour, 0.45 * skin, np.clip(identity.lid_crease * crease * near, 0, 0.9))
    bag = bell(lidded - 0.55 * identity.eye_opening - 0.045, 0.025) * near
    blend(colour, 0.55 * skin, np.clip(identity.eye_bag * bag, 0, 0.9))

    white = np.array([0.62, 0.58, 0.55], dtype=np.float32)
    blend(colour, white, inside)
    gaze_x = 0.045 * nuisance.gaze_x * side
    from_iris = (
        np.sqrt(np.square(x - gaze_x) + np.square(y - 0.02 * nuisance.gaze_y + 0.004))
        - identity.iris_radius
    )
    iris = soft_step(-from_iris, edge) * inside
    blend(colour, _iris_colour(identity), iris)
    blend(colour, 0.25 * _iris_colour(identity), iris * bell(from_iris, 0.010))
    pupil = soft_step(-(from_iris + 0.60 * identity.iris_radius), edge) * inside
    blend(colour, np.full(3, 0.008), pupil)
    # The highlight sits where the light is, on the same side of both eyes.
    spark_x = (
        u
        - side * at.eye_u
        - 0.045 * nuisance.gaze_x
        - 0.022 * np.sin(np.radians(nuisance.light_azimuth))
    )
    spark = bell(np.sqrt(np.square(spark_x) + np.square(y + 0.022)), 0.012)
    blend(colour, np.full(3, 1.0), 0.8 * nuisance.light_strength * spark * inside)
    # Lid shadow on the ball, then the lashes.
    blend(colour, np.full(3, 0.02), 0.35 * inside * bell(upper, 0.02))
    lash = bell(upper, 0.008 + edge / 3) * (np.abs(across) < 1.08)
    blend(colour, np.full(3, 0.012), identity.lash_darkness * np.clip(lash, 0, 1))
    rim = bell(lower, 0.006 + edge / 3) * (np.abs(across) < 1.0)
    blend(colour, 0.3 * skin, 0.4 * identity.lash_darkness * rim)


def _iris_colour(identity: Identity) -> np.ndarray:
    pale = np.array([0.13, 0.22, 0.36]) * (
        1 - identity.iris_green
    ) + identity.iris_green * np.array([0.16, 0.22, 0.10])
    brown = np.array([0.06, 0.025, 0.010])
    pigment = min(1.0, 1.3 * identity.iris_pigment)
    return np.exp((1 - pigment) * np.log(pale) + pigment * np.log(brown)).astype(np.float32)


def _brows(
    colour: np.ndarray,
    identity: Identity,
    nuisance: Nuisance,
    at: Features,
    u: np.ndarray,
    v: np.ndarray,
    edge: float,
) -> None:
    side = np.sign(u)
    x = (np.abs(u) - identity.brow_gap) * np.float32(1 / (2 * identity.brow_length))
    line = (
        at.eye_v
        + side * (at.eye_slant + identity.brow_slant)
        - identity.brow_height
        - 0.06 * nuisance.brow_raise
    )
    rise = identity.brow_tilt * 2 * identity.brow_length * (
        x - 0.5
    ) - 0.16 * identity.brow_arch * x * (1 - x) * (x + 0.3)
    offset = np.abs(v - line - rise)
    thickness = identity.brow_thickness * np.clip(1.35 - 0.9 * x * x, 0.2, 1.4)
    cover = soft_step(thickness - offset, edge + 0.012)
    cover *= soft_step(x - 0.02, 0.14) * soft_step(1 - x, 0.12)
    bristle = texture(1, 190 * u, 90 * v, identity.mark_seed // 5)
    cover *= identity.brow_darkness * (0.9 + 0.15 * bristle)
    blend(colour, 0.75 * hair_pigment(identity), np.clip(cover, 0.0, 0.97))


def _nostrils(
    colour: np.ndarray, identity: Identity, at: Features, u: np.ndarray, v: np.ndarray
) -> None:
    x = np.abs(u - at.nose_u)
    y = v - at.nose_v - 0.075
    hole = bell(x - 0.55 * identity.nose_width, 1.15 * identity.nostril_size) * bell(
        y + 0.3 * (x - 0.55 * identity.nose_width), 0.65 * identity.nostril_size
    )
    skin = skin_colour(identity)
    blend(colour, 0.10 * skin, 0.9 * hole)
    wing = bell(x - identity.nose_width - 0.012, 0.014) * bell(y + 0.03, 0.045)
    under = bell(x, 0.8 * identity.nose_width) * bell(y - 0.03, 0.022)
    blend(colour, 0.45 * skin, np.clip(0.6 * wing + 0.35 * under, 0, 1))


def _mouth(
    colour: np.ndarray,
    identity: Identity,
    nuisance: Nuisance,
    at: Features,
    u: np.ndarray,
    v: np.ndarray,
    edge: float,
) -> None:
    x = (u - at.mouth_u) * np.float32(1 / at.mouth_half)
    square = np.minimum(np.square(x), 1.2)
    y = v - at.mouth_v - at.corner_v * square - at.corner_slant * x
    arc = np.maximum(1 - square, 0.0)
    thin = 1 - 0.30 * max(nuisance.smile, 0.0)
    bow = (
        1
        - identity.cupid_bow * bell(x, 0.16)
        + 0.3 * identity.cupid_bow * bell(np.abs(x) - 0.3, 0.15)
    )
    gap = 0.5 * at.mouth_gap * np.sqrt(arc) + 0.02 * max(nuisance.smile - 0.4, 0.0) * arc
    top = y + gap + identity.upper_lip * thin * bow * arc**0.8
    bottom = gap + identity.lower_lip * thin * np.sqrt(arc) * (0.6 + 0.4 * arc) - y
    lips = soft_step(np.minimum(top, bottom), edge) * (arc > 0)
    skin = skin_colour(identity)
    flesh = skin * np.array([0.86, 0.60, 0.60]) ** (0.5 + 1.3 * identity.lip_redness)
    blend(colour, flesh * 0.92, lips * (y < 0))
    blend(colour, flesh, lips * (y >= 0))

    inside = soft_step(gap - np.abs(y), edge) * (arc > 0) * min(1.0, gap.max(initial=0.0) / 0.012)
    blend(colour, np.array([0.05, 0.012, 0.012]), inside)
    teeth = soft_step(0.55 * gap.max(initial=0.0) - (y + gap), edge) * soft_step(
        0.85 - np.abs(x), 0.2
    )
    blend(
        colour,
        np.array([0.60, 0.56, 0.48]),
        inside * teeth * min(1.0, 0.4 + nuisance.smile + 0.2 * nuisance.mouth_open),
    )
    seam = bell(np.abs(y) - gap, 0.007 + edge / 4) * soft_step(1.08 - np.abs(x), 0.1)
    blend(colour, 0.18 * flesh, 0.75 * seam)
    shade = bell(-bottom - 0.035, 0.022) * soft_step(0.75 - np.abs(x), 0.4)
    blend(colour, 0.6 * skin, 0.35 * shade)
