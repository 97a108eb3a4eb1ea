"""One mask, worn in one way: its parameters, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from facedistill.core.errors import FacedistillError

T = TypeVar("T")

MaskShape = Literal["surgical", "kn95", "cloth"]
"""`kn95` (N95, FFP2) has a vertical seam."""

Texture = Literal["plain", "pleats", "stripes"]
"""`pleats` are folds, which change the light; `stripes` are of a second colour."""

Colour = tuple[int, int, int]
"""RGB, 0..255."""

_WHITE, _BLACK, _BLUE = (238, 240, 242), (38, 38, 42), (150, 195, 224)

# What masks are drawn from: the usual more than once.
_SHAPES: tuple[MaskShape, ...] = ("surgical", "surgical", "kn95", "cloth")
_TEXTURES: dict[MaskShape, tuple[Texture, ...]] = {
    "surgical": ("pleats", "pleats", "pleats", "plain"),
    "kn95": ("plain",),
    "cloth": ("plain", "pleats", "stripes"),
}
_COLOURS: dict[MaskShape, tuple[Colour, ...]] = {
    "surgical": (_BLUE, _BLUE, _WHITE, _BLACK, (160, 212, 196), (236, 176, 190)),
    "kn95": (_WHITE, _WHITE, _WHITE, _BLACK, (150, 152, 156)),
    "cloth": (_BLACK, _WHITE, (44, 58, 98), (150, 38, 48), (70, 92, 64), (196, 178, 148)),
}

_NUMBERS = {
    "colour": (3, 0, 255),
    "accent": (3, 0, 255),
    "nose": (1, 0, 1),
    "width": (1, 0.85, 1.12),
    "chin": (1, -1, 1),
    "tilt": (1, -8, 8),
    "phase": (1, 0, 1),
}
"""How many numbers a field has, and the least and the greatest they may be."""


@dataclass(frozen=True)
class MaskParameters:
    """One mask, worn in one way.

    Attributes:
        shape: How it is cut.
        texture: Print or folds of the cloth.
        colour: Of the cloth.
        accent: Second colour, of stripes.
        nose: How high it sits, from 0 (just above the tip of the nose) to 1 (on its bridge).
        width: Its width relative to the usual one, 0.85..1.12.
        chin: How far down it reaches, -1..1.
        tilt: How askew it sits, degrees -8..8, positive lifts its right side in the image.
        phase: Where stripes and folds begin, 0..1.

    Raises:
        FacedistillError: If a field is out of its range; the message names it.
    """

    shape: MaskShape = "surgical"
    texture: Texture = "pleats"
    colour: Colour = _BLUE
    accent: Colour = _WHITE
    nose: float = 0.6
    width: float = 1.0
    chin: float = 0.0
    tilt: float = 0.0
    phase: float = 0.5

    def __post_init__(self) -> None:
        for name, known in (("shape", get_args(MaskShape)), ("texture", get_args(Texture))):
            if (value := getattr(self, name)) not in known:
                raise FacedistillError(f"mask {name} {value!r}: take one of {', '.join(known)}")
        for name, (count, low, high) in _NUMBERS.items():
            value = getattr(self, name)
            parts = value if count > 1 and isinstance(value, tuple) else (value,)
            if len(parts) != count or not all(_is_number(part, low, high) for part in parts):
                what = "a number" if count == 1 else f"{count} numbers"
                raise FacedistillError(f"mask {name} is {value!r}: give {what} {low:g}..{high:g}")

    @classmethod
    def draw(cls, rng: np.random.Generator) -> MaskParameters:
        """Draw a mask: its kind, its colour and how it is worn.

        Args:
            rng: Source of randomness; the same state gives the same mask.
        """
        shape = _pick(_SHAPES, rng)
        colour = _pick(_COLOURS[shape], rng)
        tint = rng.uniform(0.92, 1.08) * rng.uniform(0.97, 1.03, 3)
        r, g, b = np.minimum(colour * tint, 255).astype(int).tolist()
        return cls(
            shape=shape,
            texture=_pick(_TEXTURES[shape], rng),
            colour=(r, g, b),
            accent=_pick(tuple(c for c in _COLOURS["cloth"] if c != colour), rng),
            nose=rng.random(),
            width=rng.uniform(0.91, 1.06),
            chin=rng.uniform(-1, 1),
            tilt=rng.triangular(-3, 0, 3),
            phase=rng.random(),
        )


def _pick(choices: tuple[T, ...], rng: np.random.Generator) -> T:
    return choices[int(len(choices) * rng.random())]


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
