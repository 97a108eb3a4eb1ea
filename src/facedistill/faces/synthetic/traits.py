"""The identity of a procedural face: some eighty continuous traits, drawn once for each."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np


def trait(low: float, high: float, absent: float = 0.0) -> float:
    """Declare a dataclass field with a range.

    Args:
        low: Smallest value.
        high: Largest value.
        absent: Share of identities who have exactly `low` (no beard, no freckles).

    Returns:
        A field whose default is the middle of the range, or `low` where most identities lack it.
    """
    default = low if absent >= 0.5 else (low + high) / 2
    declared: float = field(default=default, metadata={"low": low, "high": high, "absent": absent})
    return declared


@dataclass(frozen=True)
class Identity:
    """The traits of one identity; `Identity()` is the average face.

    Lengths are in decimetres on the head. Positions on the face are chart coordinates (see
    `head_chart`), about decimetres too: x to the image's right, y downwards, origin 15 mm below
    the middle between the eyes. Ranges stand at each field as `trait(low, high)`.
    """

    # Skull: half widths from top to bottom, depth and height.
    cranium_height: float = trait(1.02, 1.22)
    temple_width: float = trait(0.69, 0.82)
    cheekbone_width: float = trait(0.70, 0.86)
    jaw_width: float = trait(0.60, 0.84)
    cranium_squareness: float = trait(0.02, 0.16)
    jaw_squareness: float = trait(-0.04, 0.12)
    chin_width: float = trait(0.10, 0.30)
    face_depth: float = trait(0.90, 1.02)
    forehead_bulge: float = trait(-0.06, 0.07)
    brow_ridge: float = trait(0.0, 0.08)
    cheekbone_bulge: float = trait(0.0, 0.09)
    cheek_fullness: float = trait(-0.08, 0.08)
    chin_height: float = trait(0.80, 1.02)
    chin_bulge: float = trait(-0.02, 0.14)
    chin_cleft: float = trait(0.0, 0.05, absent=0.6)

    # Eyes.
    eye_spacing: float = trait(0.275, 0.365)
    eye_level: float = trait(-0.22, -0.10)
    eye_width: float = trait(0.115, 0.175)
    eye_opening: float = trait(0.035, 0.085)
    eye_tilt: float = trait(-0.20, 0.22)
    eye_depth: float = trait(0.02, 0.11)
    eye_bag: float = trait(0.0, 0.5)
    lid_crease: float = trait(0.0, 0.7)
    lash_darkness: float = trait(0.3, 1.0)
    iris_radius: float = trait(0.050, 0.066)
    iris_pigment: float = trait(0.0, 1.0)
    iris_green: float = trait(0.0, 1.0)

    # Brows.
    brow_height: float = trait(0.09, 0.19)
    brow_thickness: float = trait(0.014, 0.050)
    brow_length: float = trait(0.14, 0.24)
    brow_gap: float = trait(0.05, 0.16)
    brow_tilt: float = trait(-0.35, 0.25)
    brow_arch: float = trait(0.0, 1.6)
    brow_darkness: float = trait(0.35, 1.0)

    # Nose.
    nose_level: float = trait(0.10, 0.24)
    nose_height: float = trait(0.16, 0.33)
    nose_width: float = trait(0.095, 0.185)
    nose_tip_width: float = trait(0.055, 0.11)
    bridge_height: float = trait(0.03, 0.15)
    bridge_width: float = trait(0.05, 0.10)
    nose_hump: float = trait(-0.05, 0.06)
    nostril_size: float = trait(0.018, 0.036)

    # Mouth.
    mouth_level: float = trait(0.46, 0.60)
    mouth_width: float = trait(0.18, 0.31)
    upper_lip: float = trait(0.020, 0.075)
    lower_lip: float = trait(0.035, 0.095)
    cupid_bow: float = trait(0.0, 0.5)
    mouth_curve: float = trait(-0.015, 0.055)
    mouth_bulge: float = trait(0.0, 0.10)
    lip_redness: float = trait(0.0, 0.9)

    # Skin.
    melanin: float = trait(0.0, 0.85)
    redness: float = trait(-0.5, 1.0)
    skin_grain: float = trait(0.0, 0.12)
    blush: float = trait(0.0, 0.6)
    freckles: float = trait(0.0, 0.8, absent=0.75)
    laugh_lines: float = trait(0.0, 0.6)
    forehead_lines: float = trait(0.0, 0.5, absent=0.6)
    moles: float = trait(0.0, 7.0, absent=0.25)

    # Hair of the head; its level is where it meets the forehead.
    hair_pigment: float = trait(0.0, 1.0)
    hair_redness: float = trait(0.0, 1.0, absent=0.4)
    hair_grey: float = trait(0.0, 1.0, absent=0.75)
    hair_level: float = trait(-0.90, -0.58)
    hair_recession: float = trait(0.0, 0.35, absent=0.4)
    hair_peak: float = trait(0.0, 0.12, absent=0.5)
    hair_volume: float = trait(0.02, 0.24)
    hair_sides: float = trait(0.0, 0.20)
    hair_length: float = trait(0.0, 1.0, absent=0.45)
    hair_curl: float = trait(0.0, 1.0, absent=0.4)
    hair_temples: float = trait(0.72, 1.05)
    fringe: float = trait(0.0, 1.0, absent=0.6)
    fringe_slant: float = trait(-0.6, 0.6)
    baldness: float = trait(0.0, 1.0, absent=0.87)

    # Beard.
    beard: float = trait(0.0, 1.0, absent=0.65)
    beard_level: float = trait(0.30, 0.75)
    moustache: float = trait(0.0, 1.0, absent=0.65)

    # Ears.
    ear_size: float = trait(0.16, 0.27)
    ear_protrusion: float = trait(0.04, 0.20)
    ear_level: float = trait(-0.12, 0.12)

    # Nobody is symmetric.
    eye_slant: float = trait(-0.012, 0.012)
    brow_slant: float = trait(-0.02, 0.02)
    nose_shift: float = trait(-0.02, 0.02)
    mouth_shift: float = trait(-0.02, 0.02)
    mouth_slant: float = trait(-0.015, 0.015)

    mark_seed: int = 0
    """Places the moles, the freckles and the grain of skin and hair."""

    @property
    def has_long_hair(self) -> bool:
        """Whether the hair falls over the ears."""
        return self.hair_length > 0.1


_TRAITS = [item for item in fields(Identity) if "low" in item.metadata]
_LOW, _HIGH, _ABSENT = (
    np.array([item.metadata[name] for item in _TRAITS]) for name in ("low", "high", "absent")
)


def trait_ranges() -> dict[str, tuple[float, float]]:
    """Return (low, high) of every continuous trait by name."""
    return {item.name: (item.metadata["low"], item.metadata["high"]) for item in _TRAITS}


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw an identity: every trait independently, most near the middle of its range.

    Args:
        rng: Source of randomness; the same state gives the same identity.

    Returns:
        The identity.
    """
    spread = np.clip(0.5 + 0.32 * rng.standard_normal(len(_TRAITS)), 0.0, 1.0)
    absent = rng.random(len(_TRAITS)) < _ABSENT
    values = np.where(absent, _LOW, _LOW * (1 - spread) + _HIGH * spread).tolist()
    traits = dict(zip((item.name for item in _TRAITS), values, strict=True))
    return Identity(**traits, mark_seed=int(rng.integers(2**31)))
