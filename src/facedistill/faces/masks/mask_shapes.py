"""How masks of each shape are cut, and what their cloth is like."""

from __future__ import annotations

from typing import Literal, NamedTuple

from facedistill.faces.masks.fabric import Texture

MaskShape = Literal["surgical", "kn95", "cloth", "cup", "duckbill"]
"""`kn95` (FFP2) has a vertical ridge, `cup` is a moulded dome, `duckbill` folds across."""

Colour = tuple[int, int, int]
"""RGB, 0..255."""

WHITE, BLACK = (238, 240, 242), (38, 38, 42)


class Cut(NamedTuple):
    """How a shape is cut: lengths in pixels of a 112-pixel crop, y downwards from its top."""

    half_width: float
    taper: float  # share of the width lost from the height of the nose to that of the chin
    bump: float  # how far the nose piece rises above the cheeks
    fall: float  # how far the top edge falls from the nose to the side
    bottom: float  # y of the bottom edge in the middle
    rise: float  # how far the bottom edge rises to the side
    corner: float  # radius of the corners
    textures: tuple[Texture, ...]
    colours: tuple[Colour, ...]


CUTS: dict[MaskShape, Cut] = {
    "surgical": Cut(
        *(41.0, 0.14, 5.0, 5.0, 119.0, 19.0, 5.0),
        ("pleats", "pleats", "pleats", "pleats", "plain"),
        (
            *((150, 195, 224), (150, 195, 224), (170, 208, 228), WHITE, WHITE),
            *((160, 212, 196), BLACK, (236, 176, 190)),
        ),
    ),
    "kn95": Cut(
        *(41.0, 0.10, 6.0, 17.0, 120.0, 29.0, 7.0),
        ("plain",),
        (WHITE, WHITE, WHITE, BLACK, (150, 152, 156), (196, 206, 214), (226, 206, 190)),
    ),
    "cloth": Cut(
        *(40.0, 0.12, 4.0, 11.0, 119.0, 23.0, 8.0),
        ("plain", "pleats", "stripes", "dots", "plaid", "camouflage"),
        (
            *(BLACK, BLACK, (44, 58, 98), (150, 38, 48), (92, 94, 98), (70, 92, 64)),
            *((196, 178, 148), (216, 136, 152), (64, 120, 140), (120, 84, 140), WHITE),
        ),
    ),
    "cup": Cut(
        *(33.0, 0.08, 3.0, 14.0, 118.0, 22.0, 15.0),
        ("plain",),
        (WHITE, WHITE, (206, 220, 226), (198, 200, 198), (96, 98, 102)),
    ),
    "duckbill": Cut(
        *(37.0, 0.06, 4.0, 14.0, 120.0, 26.0, 9.0),
        ("plain",),
        (WHITE, (176, 206, 220), (184, 214, 190), (232, 226, 190), BLACK),
    ),
}
