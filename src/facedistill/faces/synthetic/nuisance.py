"""What differs between two photographs of one identity: pose, light, expression, covers, lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from facedistill.core.errors import FacedistillError

Cover = Literal["none", "glasses", "sunglasses", "mask", "hand"]
COVERS: tuple[Cover, ...] = ("glasses", "sunglasses", "mask", "hand")
_COVER_SHARES = (0.40, 0.12, 0.24, 0.24)
_COVERED = 0.30
"""Share of covered faces at difficulty 1."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Nuisance:
    """One photograph's circumstances; `Nuisance()` is frontal, evenly lit, plain and sharp.

    Angles are in degrees, lengths on the image in pixels of a 112-pixel crop.
    """

    # Pose. Positive yaw turns the nose to the image's right, positive pitch lifts it.
    yaw: float = 0.0
    """-90..90; drawn within -55..55."""
    pitch: float = 0.0
    """-60..60; drawn within -25..25."""
    distance: float = 8.0
    """Camera to head in decimetres, 3.5 or more: near cameras enlarge the nose."""

    # How the crop misses the alignment template.
    roll: float = 0.0
    """In-plane rotation left over by the alignment, clockwise."""
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0

    # Expression, each 0..1 but smile (-0.6..1) and gaze (-1..1).
    smile: float = 0.0
    mouth_open: float = 0.0
    brow_raise: float = 0.0
    eye_closure: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0

    # Light from azimuth (right positive) and elevation (up positive).
    light_azimuth: float = 0.0
    light_elevation: float = 30.0
    light_strength: float = 0.5
    """Share of the directed light, 0..1; the rest comes from everywhere."""
    exposure: float = 1.0
    warmth: float = 0.0
    """White balance: log ratio of red to blue gain."""
    tint: float = 0.0
    """White balance: log gain of green."""
    saturation: float = 1.0
    contrast: float = 1.0

    cover: Cover = "none"
    cover_seed: int = 0
    """Shape, place and colour of the cover."""

    # Hair does not lie the same way every day.
    hair_lift: float = 0.0
    """Added share of hair volume, -0.5..0.5."""
    hair_drop: float = 0.0
    """How much lower the hair meets the forehead, decimetres."""
    stubble: float = 0.0
    """Added beard density, 0..0.3; shows on beards only."""

    background: tuple[Colour, Colour] = ((0.45, 0.45, 0.45), (0.55, 0.55, 0.55))
    """Linear RGB at the top and the bottom."""
    clothes: Colour = (0.2, 0.2, 0.25)
    clutter: float = 0.0
    """Contrast of the background's texture, 0..1."""

    blur: float = 0.0
    """Gaussian sigma, pixels."""
    motion: float = 0.0
    """Length of the motion blur, pixels."""
    noise: float = 0.0
    """Standard deviation of the sensor's noise, grey levels of 255."""
    texture_seed: int = 0
    """Places background texture and noise."""


def draw_nuisance(rng: np.random.Generator, difficulty: float = 1.0) -> Nuisance:
    """Draw the circumstances of a photograph.

    Args:
        rng: Source of randomness; the same state and difficulty give the same photograph.
        difficulty: Scales pose, light, expression, misalignment, blur, noise and the share of
            covered faces; 0 is frontal and clean (the background still varies), 1 is a hard
            photograph in the wild, 1.5 the most.

    Returns:
        The circumstances.

    Raises:
        FacedistillError: If `difficulty` is not within 0..1.5.
    """
    if not 0.0 <= difficulty <= 1.5:
        raise FacedistillError(f"difficulty {difficulty} of procedural faces: give 0 to 1.5")
    normal = iter(np.clip(rng.standard_normal(17), -2.2, 2.2).tolist())
    share = iter(rng.random(11).tolist())
    covered = rng.random() < _COVERED * difficulty
    kind = COVERS[int(rng.choice(len(COVERS), p=_COVER_SHARES))]
    # Mostly muted: a grey of any depth and a little hue.
    colours = rng.random((3, 1)) ** 2 * 0.7 * np.exp(0.35 * rng.standard_normal((3, 3))) + 0.01

    def spread(sigma: float) -> float:
        return difficulty * sigma * next(normal)

    def between(high: float, power: float = 1.0) -> float:
        return difficulty * high * float(next(share)) ** power

    def colour(row: int) -> Colour:
        red, green, blue = colours[row].tolist()
        return red, green, blue

    return Nuisance(
        yaw=float(np.clip(spread(25.0), -65.0, 65.0)),
        pitch=float(np.clip(spread(10.0), -30.0, 30.0)),
        distance=float(np.exp(np.log(8.0) + spread(0.25))),
        roll=spread(2.5),
        shift_x=spread(1.3),
        shift_y=spread(1.3),
        scale=float(np.exp(spread(0.025))),
        smile=float(np.clip(spread(0.5), -0.6, 1.0)),
        mouth_open=min(between(1.0, 3.0), 1.0),
        brow_raise=min(between(1.0, 2.0), 1.0),
        eye_closure=min(between(1.0, 3.5), 1.0),
        gaze_x=float(np.clip(spread(0.45), -1.0, 1.0)),
        gaze_y=float(np.clip(spread(0.3), -1.0, 1.0)),
        light_azimuth=spread(45.0),
        light_elevation=25.0 + spread(22.0),
        light_strength=min(0.4 + between(0.5), 0.95),
        exposure=float(np.exp(spread(0.33))),
        warmth=spread(0.20),
        tint=spread(0.05),
        saturation=1.0 - min(between(0.8, 6.0), 1.0),
        contrast=float(np.exp(spread(0.12))),
        cover=kind if covered else "none",
        cover_seed=int(rng.integers(2**31)),
        hair_lift=float(np.clip(spread(0.22), -0.5, 0.5)),
        hair_drop=float(np.clip(between(0.12) - 0.05 * difficulty, -0.1, 0.1)),
        stubble=min(between(0.3), 0.3),
        background=(colour(0), colour(1)),
        clothes=colour(2),
        clutter=min(between(1.0), 1.0),
        blur=between(1.6, 2.0),
        motion=between(5.0, 4.0),
        noise=between(10.0, 2.5),
        texture_seed=int(rng.integers(2**31)),
    )
