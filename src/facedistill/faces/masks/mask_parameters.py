"""One mask, worn in one way: its parameters, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, get_args

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.masks.fabric import Texture
from facedistill.faces.masks.mask_shapes import BLACK, CUTS, WHITE, Colour, MaskShape

T = TypeVar("T")

_SHAPES = get_args(MaskShape)

_SHAPE_SHARES = np.cumsum([0.36, 0.20, 0.26, 0.09])

_RANGES = {
    "nose": (0.0, 1.0),
    "width": (0.85, 1.12),
    "chin": (-1.0, 1.0),
    "tilt": (-8.0, 8.0),
    "period": (2.0, 40.0),
    "angle": (0.0, 180.0),
    "phase": (0.0, 1.0),
}


@dataclass(frozen=True)
class MaskParameters:
    """One mask, worn in one way.

    Attributes:
        shape: How it is cut.
        texture: Print or folds of the cloth.
        colour: Of the cloth.
        accent: Second colour of a print.
        nose: How high it sits, from 0 (just above the tip of the nose) to 1 (on its bridge).
        width: Its width relative to the shape's own, 0.85..1.12.
        chin: How far down it reaches, -1..1.
        tilt: How askew it sits, degrees -8..8, positive lifts its right side in the image.
        outline: Six numbers -1..1 that bend its edges: top slope, top curve, bottom slope, bottom
            curve, left width, right width.
        period: Length of the print's repeat, 2..40 pixels of a 112-pixel crop.
        angle: Direction of the print, 0..180 degrees.
        phase: Where print, folds and creases begin, 0..1.
        straps: Whether the loops to the ears are drawn.
        strap_colour: Of the loops.

    Raises:
        FacedistillError: If a field is out of its range; the message names it.
    """

    shape: MaskShape = "surgical"
    texture: Texture = "pleats"
    colour: Colour = (150, 195, 224)
    accent: Colour = WHITE
    nose: float = 0.6
    width: float = 1.0
    chin: float = 0.0
    tilt: float = 0.0
    outline: tuple[float, ...] = (0.0,) * 6
    period: float = 8.0
    angle: float = 0.0
    phase: float = 0.5
    straps: bool = True
    strap_colour: Colour = WHITE

    def __post_init__(self) -> None:
        for name, known in (("shape", _SHAPES), ("texture", get_args(Texture))):
            if getattr(self, name) not in known:
                raise FacedistillError(
                    f"mask {name} {getattr(self, name)!r}: take one of {', '.join(known)}"
                )
        for name, (low, high) in _RANGES.items():
            _check_numbers(name, (getattr(self, name),), 1, low, high)
        _check_numbers("outline", self.outline, 6, -1, 1)
        for name in ("colour", "accent", "strap_colour"):
            _check_numbers(name, getattr(self, name), 3, 0, 255)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> MaskParameters:
        """Draw a mask: its kind, its colour and how it is worn.

        Args:
            rng: Source of randomness; the same state gives the same mask.
        """
        share = iter(rng.random(24).tolist())
        shape: MaskShape = _SHAPES[int(np.searchsorted(_SHAPE_SHARES, next(share), side="right"))]
        cut = CUTS[shape]
        colour = _pick(cut.colours, next(share))
        accents = tuple(c for c in CUTS["cloth"].colours if _contrast(c, colour) > 60)
        wear, strap = 1 + 0.08 * (2 * next(share) - 1), next(share)
        return cls(
            shape=shape,
            texture=_pick(cut.textures, next(share)),
            colour=_tint(colour, wear, next(share), next(share)),
            accent=_pick(accents, next(share)),
            nose=next(share),
            width=0.91 + 0.15 * next(share),
            chin=2 * next(share) - 1,
            tilt=3 * (next(share) + next(share) - 1),
            outline=tuple(2 * next(share) - 1 for _ in range(6)),
            period=5 + 11 * next(share) ** 2,
            angle=45.0 * int(4 * next(share)),
            phase=next(share),
            straps=next(share) < 0.93,
            strap_colour=BLACK if strap < 0.15 or colour == BLACK else WHITE,
        )


def _pick(choices: tuple[T, ...], share: float) -> T:
    return choices[int(len(choices) * share)]


def _tint(colour: Colour, wear: float, red: float, blue: float) -> Colour:
    """Return a colour lighter or darker by a factor, and a little off in hue."""
    factors = (wear * (1 + 0.06 * (red - 0.5)), wear, wear * (1 + 0.06 * (blue - 0.5)))
    r, g, b = (min(255, round(c * f)) for c, f in zip(colour, factors, strict=True))
    return r, g, b


def _contrast(one: Colour, other: Colour) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _check_numbers(name: str, values: object, count: int, low: float, high: float) -> None:
    if (
        not isinstance(values, tuple)
        or len(values) != count
        or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values)
        or not all(low <= v <= high for v in values)
    ):
        shown = values[0] if isinstance(values, tuple) and len(values) == count == 1 else values
        kind = "a number" if count == 1 else f"{count} numbers"
        raise FacedistillError(f"mask {name} is {shown!r}: give {kind} {low:g}..{high:g}")
