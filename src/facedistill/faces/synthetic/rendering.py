"""Painting a procedural face: pigments on the chart, light from the normals, covers, lens.

Colours are linear RGB until the lens turns them into bytes, and planar (3, H, W), which NumPy
broadcasts an order of magnitude faster than (H, W, 3).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.synthetic import head_geometry as head
from facedistill.faces.synthetic.head_geometry import (
    AXIS,
    CHART_U,
    CHART_V,
    Camera,
    Features,
    Sight,
    bell,
    soft_step,
)
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.traits import Identity
from facedistill.runtime.alignment import ARCFACE_SIZE

MIN_SIZE, MAX_SIZE = 16, 1024

_LIGHT_SKIN = np.array([0.80, 0.54, 0.42], dtype=np.float32)
_DARK_SKIN = np.array([0.115, 0.055, 0.034], dtype=np.float32)
_TILE = 256


def render(
    identity: Identity, nuisance: Nuisance, size: int = ARCFACE_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Render one photograph of one person as a loosely aligned crop.

    Args:
        identity: Who.
        nuisance: Under what circumstances.
        size: Side of the crop in pixels, 16 to 1024.

    Returns:
        uint8 RGB (size, size, 3), and float32 (5, 2) landmarks (x, y) in its pixels: left eye,
        right eye, nose tip, left and right mouth corner as seen in the image, projected with the
        geometry that made the picture, covered or not.

    Raises:
        FacedistillError: If `size` is out of range.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise FacedistillError(
            f"procedural faces of {size} pixels: give a size of {MIN_SIZE} to {MAX_SIZE}"
        )
    features = Features.of(identity, nuisance)
    skin = head.skin_radius(identity, nuisance, features)
    points = head.surface_points(skin, features.landmarks)
    camera = Camera.aligned(nuisance, points, size)
    landmarks = camera.project(points).astype(np.float32)

    radius, layers = _dress(identity, nuisance, features, skin)
    sight = head.look(radius, camera, size)
    normal, hair, beard, cloth, hollow = _sample(layers, sight)

    colour = _skin(identity, sight, hollow)
    _beard(colour, identity, nuisance, sight, beard)
    _paint_features(colour, identity, nuisance, features, sight, landmarks, size)
    _marks(colour, identity, skin, camera, sight, size)
    _blend(colour, _hair_colour(identity, sight), hair)
    if nuisance.cover == "mask":
        _mask_cloth(colour, nuisance, sight, cloth)
    gloss = (1 - hair) * (1 - cloth)
    _light(colour, nuisance, normal, hollow, gloss)

    scene = _background(nuisance, camera, identity, size)
    _blend(scene, colour, sight.alpha)
    if nuisance.cover in ("glasses", "sunglasses"):
        _glasses(scene, nuisance, points, sight)
    if nuisance.cover == "hand":
        _hand(scene, identity, nuisance, landmarks, size)
    return _lens(scene, nuisance, size), landmarks


# The chart's layers.


def _dress(
    who: Identity, how: Nuisance, at: Features, skin: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Put hair and mask on the bald head.

    Returns:
        The radius map with them, and two maps to sample: (CELLS, CELLS, 4) of normal and hair
        cover, (CELLS, CELLS, 3) of beard cover, mask cover and hollowness.
    """
    grain = _strands(who)
    hair = head.hair_cover(who, how, grain)
    radius = skin + head.hair_height(who, how, hair, grain)
    cloth = np.zeros_like(radius)
    if how.cover == "mask":
        cloth = _mask_cover(how, at)
        shell = cv2.GaussianBlur(skin, (0, 0), 5.0) + 0.05
        radius += cloth * (np.maximum(shell, skin + 0.02) - radius)
    radius = radius.astype(np.float32)
    normal = head.surface_normals(radius)
    hollow = cv2.blur(radius, (13, 13)) - radius
    front = cv2.merge([*normal, hair.astype(np.float32)])
    back = cv2.merge([_beard_cover(who, at), cloth.astype(np.float32), hollow])
    return radius, (front, back)


def _sample(layers: tuple[np.ndarray, np.ndarray], sight: Sight) -> tuple[np.ndarray, ...]:
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


@cache
def _noise(stretch: int) -> np.ndarray:
    """Return smooth noise, zero mean, unit variance, `stretch`ed downwards: a seamless tile, 3 x 3.

    Repeated because OpenCV samples inside an array several times faster than around its border.
    """
    rng = np.random.Generator(np.random.PCG64(20170902 + stretch))
    tiles = np.tile(rng.standard_normal((_TILE, _TILE)).astype(np.float32), (3, 3))
    total = np.zeros((_TILE, _TILE), dtype=np.float32)
    for sigma in (0.8, 1.8, 4.0):
        smooth = cv2.GaussianBlur(tiles, (0, 0), sigmaX=sigma, sigmaY=sigma * stretch)
        smooth = smooth[_TILE : 2 * _TILE, _TILE : 2 * _TILE]
        total += smooth / smooth.std()
    return np.tile((total - total.mean()) / total.std(), (3, 3))


def _texture(stretch: int, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Sample noise at coordinates in its cells, moved to a place of the seed's."""
    shift_x, shift_y = _TILE + seed % _TILE, _TILE + (seed // _TILE) % _TILE
    return cv2.remap(
        _noise(stretch),
        x + np.float32(shift_x),
        y + np.float32(shift_y),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def _strands(who: Identity) -> np.ndarray:
    """Return the hair's grain on the chart: streaks, or curls."""
    streaks = _cut(_noise(6), who.mark_seed)
    if who.hair_curl == 0:
        return streaks
    return who.hair_curl * _cut(_noise(1), who.mark_seed) + (1 - who.hair_curl) * streaks


def _cut(noise: np.ndarray, seed: int) -> np.ndarray:
    x, y = seed % _TILE, (seed // _TILE) % _TILE
    return noise[y : y + head.CELLS, x : x + head.CELLS]


def _beard_cover(who: Identity, at: Features) -> np.ndarray:
    if who.beard == 0 and who.moustache == 0:
        return np.zeros((head.CELLS, head.CELLS), dtype=np.float32)
    across = np.abs(AXIS)
    lip_top = at.mouth_v - who.upper_lip - 0.5 * at.mouth_gap
    cheek_line = (
        who.beard_level - 0.45 * np.square(np.minimum(across, 1.1)) + 0.12 * bell(across, 0.2)
    )
    chin = soft_step(CHART_V - cheek_line[None, :], 0.14)
    chin *= soft_step(CHART_V - (at.mouth_v - 0.02), 0.1) + soft_step(
        np.abs(CHART_U) - at.mouth_half - 0.06, 0.1
    ) * (at.mouth_v + 0.03 >= CHART_V)
    chin *= soft_step(1.55 - across, 0.25)[None, :]
    lip = bell(AXIS - (lip_top - 0.05), 0.045)[:, None] * soft_step(
        at.mouth_half + 0.04 - np.abs(AXIS - at.mouth_u), 0.08
    )
    cover = np.maximum(who.beard * np.clip(chin, 0, 1), who.moustache * np.clip(1.4 * lip, 0, 1))
    return cover.astype(np.float32)


def _mask_cover(how: Nuisance, at: Features) -> np.ndarray:
    rng = np.random.default_rng(how.cover_seed)
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


# Pigments.


def _blend(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> None:
    """Lay a colour (3,) or picture (3, H, W) over a picture in place by its cover (H, W)."""
    above = np.asarray(above, dtype=np.float32)
    difference = above.reshape(3, *(above.shape[1:] or (1, 1))) - below
    difference *= cover
    below += difference


def skin_colour(identity: Identity) -> np.ndarray:
    """Return the skin's linear albedo (3,): pigments absorb, so they add up in the logarithm."""
    who = identity
    tone = np.exp((1 - who.melanin) * np.log(_LIGHT_SKIN) + who.melanin * np.log(_DARK_SKIN))
    red = np.array([0.06, -0.10, -0.10], dtype=np.float32) * who.redness
    return (tone * np.exp(red)).astype(np.float32)


def _pigment(who: Identity) -> np.ndarray:
    """Return the hair's linear albedo (3,)."""
    dark, red = who.hair_pigment, who.hair_redness
    absorbed = np.array([0.74, 1.0, 1.36]) * (0.4 + 5.5 * dark**1.2)
    absorbed += red * (1 - 0.7 * dark) * np.array([-0.1, 0.6, 0.9])
    grown = 0.8 * np.exp(-absorbed)
    return (grown + who.hair_grey * (0.45 - grown) + 0.006).astype(np.float32)


def _skin(who: Identity, sight: Sight, hollow: np.ndarray) -> np.ndarray:
    grain = _texture(1, 90 * sight.u, 90 * sight.v, who.mark_seed)
    strength = 1 + who.skin_grain * 0.35 * grain
    across = np.abs(sight.u)
    flush = who.blush * bell(across - 0.42, 0.18) * bell(sight.v - 0.18, 0.15)
    flush += 0.6 * who.blush * bell(sight.u, 0.12) * bell(sight.v - who.nose_level, 0.10)
    if who.freckles > 0:
        spots = _texture(1, 170 * sight.u, 170 * sight.v, who.mark_seed // 7)
        spots = soft_step(spots - 1.1, 0.5) * bell(sight.v - 0.08, 0.22) * bell(across, 0.5)
        strength *= 1 - 0.55 * who.freckles * spots
    lines = who.laugh_lines * _laugh_lines(who, sight)
    if who.forehead_lines > 0:
        waves = np.cos((sight.v + 0.03 * np.cos(4 * sight.u)) * (2 * np.pi / 0.10))
        lines += (
            who.forehead_lines
            * 0.5
            * np.clip(waves, 0, 1)
            * bell(sight.v + 0.5, 0.08)
            * bell(sight.u, 0.3)
        )
    strength *= 1 - 0.45 * lines
    tone = skin_colour(who)
    colour = tone[:, None, None] * strength
    colour[1] *= 1 - 0.35 * flush
    colour[2] *= 1 - 0.35 * flush
    return colour


def _laugh_lines(who: Identity, sight: Sight) -> np.ndarray:
    down = sight.v - who.nose_level
    line = who.nose_width + 0.03 + 0.45 * down
    reach = max(who.mouth_level - who.nose_level + 0.05, 0.1)
    return bell(np.abs(sight.u) - line, 0.022) * bell(down - 0.45 * reach, 0.42 * reach)


def _hair_colour(who: Identity, sight: Sight) -> np.ndarray:
    grain = _texture(6, 75 * sight.u, 30 * sight.v, who.mark_seed)
    if who.hair_curl > 0:
        curls = _texture(1, 45 * sight.u, 45 * sight.v, who.mark_seed)
        grain = who.hair_curl * curls + (1 - who.hair_curl) * grain
    return _pigment(who)[:, None, None] * np.clip(1 + 0.33 * grain, 0.15, 2.5)


def _beard(
    colour: np.ndarray, who: Identity, how: Nuisance, sight: Sight, beard: np.ndarray
) -> None:
    if who.beard == 0 and who.moustache == 0:
        return
    bristle = _texture(1, 140 * sight.u, 110 * sight.v, who.mark_seed // 3)
    cover = beard * (1 + how.stubble) * (0.80 + 0.25 * bristle)
    _blend(colour, 0.9 * _pigment(who), np.clip(cover, 0.0, 0.95))


Window = tuple[slice, slice]


def _window(points: np.ndarray, margin: float, size: int) -> Window:
    """Return the pixels within `margin` of the box around points (N, 2)."""
    low = np.clip(np.floor(points.min(axis=0) - margin), 0, size).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + margin) + 1, 0, size).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _paint_features(
    colour: np.ndarray,
    who: Identity,
    how: Nuisance,
    at: Features,
    sight: Sight,
    landmarks: np.ndarray,
    size: int,
) -> None:
    """Draw what is finer than the chart's cells, each inside its own window of the picture."""
    pixel = size / ARCFACE_SIZE
    edge = 0.026 * max(1.0 / pixel, 0.4)
    rows, columns = _window(landmarks[:2], 22 * pixel, size)
    part = colour[:, rows, columns]
    u, v = sight.u[rows, columns], sight.v[rows, columns]
    if part.size:
        _eyes(part, who, how, at, u, v, edge)
        _brows(part, who, how, at, u, v, edge)
    rows, columns = _window(landmarks[2:], 12 * pixel, size)
    part = colour[:, rows, columns]
    u, v = sight.u[rows, columns], sight.v[rows, columns]
    if part.size:
        _nostrils(part, who, at, u, v)
        _mouth(part, who, how, at, u, v, edge)


def _eyes(
    colour: np.ndarray,
    who: Identity,
    how: Nuisance,
    at: Features,
    u: np.ndarray,
    v: np.ndarray,
    edge: float,
) -> None:
    """Draw both eyes at once on the folded face: x runs from the nose outwards."""
    side = np.sign(u)
    x = np.abs(u) - at.eye_u
    y = v - at.eye_v - side * at.eye_slant
    lidded = y + who.eye_tilt * x
    across = x * np.float32(1 / who.eye_width)
    arc = np.maximum(1 - np.square(across), 0.0)
    opening = who.eye_opening * (1 - how.eye_closure) * (1 - 0.35 * max(how.smile, 0.0))
    opening *= 1 + 0.25 * how.brow_raise
    low = 0.55 * who.eye_opening * (1 - 0.5 * max(how.smile, 0.0)) * np.sqrt(arc)
    upper = low + lidded if how.eye_closure >= 1 else lidded + opening * arc**0.7
    lower = low * (1 - 0.6 * how.eye_closure) - lidded
    inside = soft_step(np.minimum(upper, lower), edge) * (arc > 0)

    skin = skin_colour(who)
    # Crease and shade above the lid, bag beneath.
    near = bell(across, 0.8)
    crease = bell(lidded + 1.05 * opening * arc + 0.028 + 0.02 * who.lid_crease, 0.012 + edge / 4)
    _blend(colour, 0.45 * skin, np.clip(who.lid_crease * crease * near, 0, 0.9))
    bag = bell(lidded - 0.55 * who.eye_opening - 0.045, 0.025) * near
    _blend(colour, 0.55 * skin, np.clip(who.eye_bag * bag, 0, 0.9))

    white = np.array([0.62, 0.58, 0.55], dtype=np.float32)
    _blend(colour, white, inside)
    gaze_x = 0.045 * how.gaze_x * side
    from_iris = (
        np.sqrt(np.square(x - gaze_x) + np.square(y - 0.02 * how.gaze_y + 0.004)) - who.iris_radius
    )
    iris = soft_step(-from_iris, edge) * inside
    _blend(colour, _iris_colour(who), iris)
    _blend(colour, 0.25 * _iris_colour(who), iris * bell(from_iris, 0.010))
    pupil = soft_step(-(from_iris + 0.60 * who.iris_radius), edge) * inside
    _blend(colour, np.full(3, 0.008), pupil)
    # The highlight sits where the light is, on the same side of both eyes.
    spark_x = (
        u - side * at.eye_u - 0.045 * how.gaze_x - 0.022 * np.sin(np.radians(how.light_azimuth))
    )
    spark = bell(np.sqrt(np.square(spark_x) + np.square(y + 0.022)), 0.012)
    _blend(colour, np.full(3, 1.0), 0.8 * how.light_strength * spark * inside)
    # Lid shadow on the ball, then the lashes.
    _blend(colour, np.full(3, 0.02), 0.35 * inside * bell(upper, 0.02))
    lash = bell(upper, 0.008 + edge / 3) * (np.abs(across) < 1.08)
    _blend(colour, np.full(3, 0.012), who.lash_darkness * np.clip(lash, 0, 1))
    rim = bell(lower, 0.006 + edge / 3) * (np.abs(across) < 1.0)
    _blend(colour, 0.3 * skin, 0.4 * who.lash_darkness * rim)


def _iris_colour(who: Identity) -> np.ndarray:
    pale = np.array([0.13, 0.22, 0.36]) * (1 - who.iris_green) + who.iris_green * np.array(
        [0.16, 0.22, 0.10]
    )
    brown = np.array([0.06, 0.025, 0.010])
    pigment = min(1.0, 1.3 * who.iris_pigment)
    return np.exp((1 - pigment) * np.log(pale) + pigment * np.log(brown)).astype(np.float32)


def _brows(
    colour: np.ndarray,
    who: Identity,
    how: Nuisance,
    at: Features,
    u: np.ndarray,
    v: np.ndarray,
    edge: float,
) -> None:
    side = np.sign(u)
    x = (np.abs(u) - who.brow_gap) * np.float32(1 / (2 * who.brow_length))
    line = (
        at.eye_v + side * (at.eye_slant + who.brow_slant) - who.brow_height - 0.06 * how.brow_raise
    )
    rise = who.brow_tilt * 2 * who.brow_length * (x - 0.5) - 0.16 * who.brow_arch * x * (1 - x) * (
        x + 0.3
    )
    offset = np.abs(v - line - rise)
    thickness = who.brow_thickness * np.clip(1.35 - 0.9 * x * x, 0.2, 1.4)
    cover = soft_step(thickness - offset, edge + 0.012)
    cover *= soft_step(x - 0.02, 0.14) * soft_step(1 - x, 0.12)
    bristle = _texture(1, 190 * u, 90 * v, who.mark_seed // 5)
    cover *= who.brow_darkness * (0.9 + 0.15 * bristle)
    _blend(colour, 0.75 * _pigment(who), np.clip(cover, 0.0, 0.97))


def _nostrils(
    colour: np.ndarray, who: Identity, at: Features, u: np.ndarray, v: np.ndarray
) -> None:
    x = np.abs(u - at.nose_u)
    y = v - at.nose_v - 0.075
    hole = bell(x - 0.55 * who.nose_width, 1.15 * who.nostril_size) * bell(
        y + 0.3 * (x - 0.55 * who.nose_width), 0.65 * who.nostril_size
    )
    skin = skin_colour(who)
    _blend(colour, 0.10 * skin, 0.9 * hole)
    wing = bell(x - who.nose_width - 0.012, 0.014) * bell(y + 0.03, 0.045)
    under = bell(x, 0.8 * who.nose_width) * bell(y - 0.03, 0.022)
    _blend(colour, 0.45 * skin, np.clip(0.6 * wing + 0.35 * under, 0, 1))


def _mouth(
    colour: np.ndarray,
    who: Identity,
    how: Nuisance,
    at: Features,
    u: np.ndarray,
    v: np.ndarray,
    edge: float,
) -> None:
    x = (u - at.mouth_u) * np.float32(1 / at.mouth_half)
    square = np.minimum(np.square(x), 1.2)
    y = v - at.mouth_v - at.corner_v * square - at.corner_slant * x
    arc = np.maximum(1 - square, 0.0)
    thin = 1 - 0.30 * max(how.smile, 0.0)
    bow = 1 - who.cupid_bow * bell(x, 0.16) + 0.3 * who.cupid_bow * bell(np.abs(x) - 0.3, 0.15)
    gap = 0.5 * at.mouth_gap * np.sqrt(arc) + 0.02 * max(how.smile - 0.4, 0.0) * arc
    top = y + gap + who.upper_lip * thin * bow * arc**0.8
    bottom = gap + who.lower_lip * thin * np.sqrt(arc) * (0.6 + 0.4 * arc) - y
    lips = soft_step(np.minimum(top, bottom), edge) * (arc > 0)
    skin = skin_colour(who)
    flesh = skin * np.array([0.86, 0.60, 0.60]) ** (0.5 + 1.3 * who.lip_redness)
    _blend(colour, flesh * 0.92, lips * (y < 0))
    _blend(colour, flesh, lips * (y >= 0))

    inside = soft_step(gap - np.abs(y), edge) * (arc > 0) * min(1.0, gap.max(initial=0.0) / 0.012)
    _blend(colour, np.array([0.05, 0.012, 0.012]), inside)
    teeth = soft_step(0.55 * gap.max(initial=0.0) - (y + gap), edge) * soft_step(
        0.85 - np.abs(x), 0.2
    )
    _blend(
        colour,
        np.array([0.60, 0.56, 0.48]),
        inside * teeth * min(1.0, 0.4 + how.smile + 0.2 * how.mouth_open),
    )
    seam = bell(np.abs(y) - gap, 0.007 + edge / 4) * soft_step(1.08 - np.abs(x), 0.1)
    _blend(colour, 0.18 * flesh, 0.75 * seam)
    shade = bell(-bottom - 0.035, 0.022) * soft_step(0.75 - np.abs(x), 0.4)
    _blend(colour, 0.6 * skin, 0.35 * shade)


def _marks(
    colour: np.ndarray, who: Identity, skin: np.ndarray, camera: Camera, sight: Sight, size: int
) -> None:
    """Draw the moles where they have grown, each in a small window of the picture."""
    count = round(who.moles)
    if not count:
        return
    rng = np.random.default_rng(who.mark_seed)
    places = rng.uniform((-0.8, -0.5), (0.8, 0.95), (7, 2))[:count]
    widths = rng.uniform(0.008, 0.026, 7)[:count]
    spots = camera.project(head.surface_points(skin, places))
    margin = 5 * size // ARCFACE_SIZE + 1
    brown = skin_colour(who) * np.array([0.35, 0.25, 0.22])
    for (u, v), width, (x, y) in zip(places, widths, np.rint(spots).astype(int), strict=True):
        rows = slice(max(y - margin, 0), max(y + margin, 0))
        columns = slice(max(x - margin, 0), max(x + margin, 0))
        cover = bell(sight.u[rows, columns] - u, width) * bell(sight.v[rows, columns] - v, width)
        _blend(colour[:, rows, columns], brown, 0.85 * cover)


# Light.


def _light(
    colour: np.ndarray, how: Nuisance, normal: np.ndarray, hollow: np.ndarray, gloss: np.ndarray
) -> None:
    """Light the pigments in place: a lamp, a sky, hollows that see less of both, a little gloss."""
    azimuth, elevation = np.radians(how.light_azimuth), np.radians(how.light_elevation)
    lamp = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )
    back = head.pose(how.yaw, how.pitch).T
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
    strength = how.light_strength
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


# Surroundings and covers.


def _background(how: Nuisance, camera: Camera, who: Identity, size: int) -> np.ndarray:
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    top, bottom = (np.array(colour, dtype=np.float32)[:, None] for colour in how.background)
    rows = top * (1 - ramp) + bottom * ramp
    scene = np.repeat(rows[:, :, None], size, axis=2)
    room = _TILE - 64
    x, y = how.texture_seed % room, (how.texture_seed // room) % room
    patch = cv2.resize(
        _noise(1)[y : y + 48, x : x + 48], (size, size), interpolation=cv2.INTER_LINEAR
    )
    scene *= np.clip(1 + 0.4 * how.clutter * patch, 0.05, 3.0)
    _torso(scene, how, camera, who, size)
    return scene


def _torso(scene: np.ndarray, how: Nuisance, camera: Camera, who: Identity, size: int) -> None:
    """Draw neck and shoulders: they stay upright while the head turns."""
    pivot = camera.project(np.array([[0.0, 0.75, -0.25]]))[0]
    unit = camera.pixels_per_unit
    x = (np.arange(size, dtype=np.float32) - np.float32(pivot[0])) / unit
    y = (np.arange(size, dtype=np.float32)[:, None] - np.float32(pivot[1])) / unit
    neck = soft_step(0.58 * who.jaw_width + 0.12 + 0.3 * np.maximum(y - 0.3, 0) - np.abs(x), 0.05)
    neck *= soft_step(y + 0.5, 0.3)
    shade = 0.35 + 0.3 * bell(x, 0.4)
    _blend(scene, skin_colour(who)[:, None, None] * shade[None, None, :], neck)
    slope = 0.55 + 0.22 * np.abs(x) + 0.25 * bell(x, 0.25)
    _blend(scene, np.array(how.clothes), soft_step(y - slope, 0.06))


def _glasses(scene: np.ndarray, how: Nuisance, points: np.ndarray, sight: Sight) -> None:
    """Lay spectacles over the picture: a thin sheet before the eyes, with its own parallax."""
    rng = np.random.default_rng(how.cover_seed)
    width, height = rng.uniform(0.20, 0.30), rng.uniform(0.15, 0.26)
    power, thickness = rng.uniform(2.0, 5.0), rng.uniform(0.012, 0.04)
    frame = rng.uniform(0.005, 0.25, 3) * rng.choice([0.1, 1.0])
    eyes = points[:2]
    plane = float(eyes[:, 2].mean()) + 0.16
    lift = (plane - sight.start[2]) / np.where(np.abs(sight.run[2]) < 0.05, 0.05, sight.run[2])
    before = soft_step(lift - sight.lift + 0.04, 0.04)
    before = np.maximum(before, 1 - sight.alpha)
    x = np.abs(sight.start[0] + lift * sight.run[0] - float(eyes[:, 0].mean()))
    y = sight.start[1] + lift * sight.run[1] - float(eyes[:, 1].mean()) - 0.02
    centre = max(0.5 * float(eyes[1, 0] - eyes[0, 0]), width + 0.02)
    ring = np.abs((x - centre) / width) ** power + np.abs(y / height) ** power
    ring = ring ** (1 / power) - 1
    sheet = before * (sight.run[2] > 0.05)
    lens = soft_step(-ring * height, 0.02) * sheet
    if how.cover == "sunglasses":
        _blend(scene, frame * 0.2 + 0.01, lens * rng.uniform(0.75, 0.97))
    else:
        glare = np.clip(bell(x - y - rng.uniform(-0.2, 0.6), 0.05), 0, 1)
        _blend(scene, np.full(3, 0.8), lens * (0.03 + rng.uniform(0, 0.35) * glare))
    wire = soft_step(thickness - np.abs(ring) * height, 0.025)
    bridge = soft_step(thickness - np.abs(y + 0.3 * height), 0.025) * (x < centre - width)
    arms = (
        soft_step(thickness - np.abs(y + 0.3 * height), 0.025) * (x > centre + width) * (x < 0.80)
    )
    _blend(scene, frame, np.clip(wire + bridge + arms, 0, 1) * sheet)


def _mask_cloth(colour: np.ndarray, how: Nuisance, sight: Sight, cloth: np.ndarray) -> None:
    rng = np.random.default_rng((how.cover_seed, 1))
    tone = [(0.25, 0.5, 0.7), (0.75, 0.75, 0.75), (0.02, 0.02, 0.025), tuple(rng.random(3))]
    dye = np.array(tone[int(rng.integers(4))], dtype=np.float32)
    pleats = 1 - 0.18 * bell(np.mod(sight.v, 0.16) - 0.08, 0.015)
    _blend(colour, dye[:, None, None] * pleats, cloth)


def _hand(
    scene: np.ndarray, who: Identity, how: Nuisance, landmarks: np.ndarray, size: int
) -> None:
    """Lay a hand over a part of the face: rounded fingers on a palm that enters from outside."""
    rng = np.random.default_rng(how.cover_seed)
    pixel = size / ARCFACE_SIZE
    target = landmarks[rng.integers(5)] + rng.normal(0, 6, 2) * pixel
    angle = rng.uniform(-0.2, np.pi + 0.2)
    along = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-along[1], along[0]])
    radius = rng.uniform(4.5, 7.0) * pixel
    grid = np.arange(size, dtype=np.float32)
    depth = np.full((size, size), -9.0, dtype=np.float32)
    for finger in range(4):
        tip = target + aside * (finger - 1.5) * 1.8 * radius
        tip += along * radius * (0.8 * abs(finger - 1.6) + rng.normal(0, 0.3))
        x = grid[None, :] - np.float32(tip[0])
        y = grid[:, None] - np.float32(tip[1])
        run = np.maximum(x * np.float32(along[0]) + y * np.float32(along[1]), 0.0)
        distance = np.hypot(x - run * np.float32(along[0]), y - run * np.float32(along[1]))
        widened = radius * (1 + 0.012 * run / pixel)
        depth = np.maximum(depth, 1 - distance / widened)
    cover = soft_step(depth * radius, 1.2)
    lit = 0.55 + 0.55 * np.sqrt(np.clip(depth, 0.0, 1.0))
    _blend(scene, skin_colour(who)[:, None, None] * (0.95 * lit), cover)


# Lens and sensor.


def _lens(scene: np.ndarray, how: Nuisance, size: int) -> np.ndarray:
    """Turn linear light (3, H, W) into bytes (H, W, 3)."""
    gain = how.exposure * np.exp([0.5 * how.warmth, how.tint, -0.5 * how.warmth])
    scene *= gain.astype(np.float32)[:, None, None]
    if how.saturation < 1:
        grey = 0.3 * scene[0] + 0.6 * scene[1] + 0.1 * scene[2]
        scene *= np.float32(how.saturation)
        scene += np.float32(1 - how.saturation) * grey
    np.maximum(scene, 0.0, out=scene)
    # Film's shoulder keeps highlights from clipping hard; the square root is the display's gamma.
    scene /= 1 + 0.35 * scene
    np.sqrt(scene, out=scene)
    scene *= np.float32(255 * 1.12 * how.contrast)
    scene += np.float32(120 * (1 - how.contrast))
    image = cv2.merge(list(scene))
    pixel = size / ARCFACE_SIZE
    if how.motion * pixel > 1:
        image = cv2.filter2D(image, -1, _streak(how, pixel), borderType=cv2.BORDER_REPLICATE)
    if how.blur * pixel > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), how.blur * pixel, borderType=cv2.BORDER_REPLICATE)
    if how.noise > 0:
        image += how.noise * _grain(size, how.texture_seed)
    image += np.float32(0.5)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _streak(how: Nuisance, pixel: float) -> np.ndarray:
    """Return the kernel of a straight motion blur."""
    length = how.motion * pixel
    side = 2 * int(np.ceil(length / 2)) + 1
    angle = np.pi * (how.texture_seed % 1024) / 1024
    offset = np.arange(side, dtype=np.float32) - side // 2
    along = offset[None, :] * np.cos(angle) + offset[:, None] * np.sin(angle)
    beside = offset[:, None] * np.cos(angle) - offset[None, :] * np.sin(angle)
    kernel = np.clip(0.5 + length / 2 - np.abs(along), 0, 1) * np.clip(1 - np.abs(beside), 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)


@cache
def _white(size: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(112))
    return rng.standard_normal((2 * size, 2 * size, 3)).astype(np.float32)


def _grain(size: int, seed: int) -> np.ndarray:
    """Cut the sensor's noise (size, size, 3), unit variance, out of a larger plate."""
    x, y = seed % size, (seed // size) % size
    return _white(size)[y : y + size, x : x + size]
