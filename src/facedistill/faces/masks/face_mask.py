"""Face masks drawn on aligned crops.

A mask is an outline over the nose, the mouth and the chin, given by smooth curves in the frame of
the ArcFace template, so that it can be evaluated at every pixel of a crop of any size. The signed
distance to the outline gives its antialiased edge, its hem and its shadow on the skin; the blurred
light of the face under it, and the colour of that light, shade the cloth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar, get_args

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.masks.fabric import Texture, pleat_light, print_share
from facedistill.runtime.alignment import (
    ARCFACE_SIZE,
    ARCFACE_TEMPLATE,
    similarity_transform,
    template,
    transform_points,
)

MaskShape = Literal["surgical", "kn95", "cloth", "cup", "duckbill"]
"""`kn95` (FFP2) has a vertical ridge, `cup` is a moulded dome, `duckbill` folds across."""

Colour = tuple[int, int, int]
"""RGB, 0..255."""

MIN_SIDE = 16
"""Smallest side of an image on which a mask is drawn, in pixels."""

T = TypeVar("T")

_WHITE, _BLACK = (238, 240, 242), (38, 38, 42)


class _Cut(NamedTuple):
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


_CUTS: dict[MaskShape, _Cut] = {
    "surgical": _Cut(
        *(41.0, 0.14, 5.0, 5.0, 119.0, 19.0, 5.0),
        ("pleats", "pleats", "pleats", "pleats", "plain"),
        (
            *((150, 195, 224), (150, 195, 224), (170, 208, 228), _WHITE, _WHITE),
            *((160, 212, 196), _BLACK, (236, 176, 190)),
        ),
    ),
    "kn95": _Cut(
        *(41.0, 0.10, 6.0, 17.0, 120.0, 29.0, 7.0),
        ("plain",),
        (_WHITE, _WHITE, _WHITE, _BLACK, (150, 152, 156), (196, 206, 214), (226, 206, 190)),
    ),
    "cloth": _Cut(
        *(40.0, 0.12, 4.0, 11.0, 119.0, 23.0, 8.0),
        ("plain", "pleats", "stripes", "dots", "plaid", "camouflage"),
        (
            *(_BLACK, _BLACK, (44, 58, 98), (150, 38, 48), (92, 94, 98), (70, 92, 64)),
            *((196, 178, 148), (216, 136, 152), (64, 120, 140), (120, 84, 140), _WHITE),
        ),
    ),
    "cup": _Cut(
        *(33.0, 0.08, 3.0, 14.0, 118.0, 22.0, 15.0),
        ("plain",),
        (_WHITE, _WHITE, (206, 220, 226), (198, 200, 198), (96, 98, 102)),
    ),
    "duckbill": _Cut(
        *(37.0, 0.06, 4.0, 14.0, 120.0, 26.0, 9.0),
        ("plain",),
        (_WHITE, (176, 206, 220), (184, 214, 190), (232, 226, 190), _BLACK),
    ),
}
_SHAPES = get_args(MaskShape)
_SHAPE_SHARES = np.cumsum([0.36, 0.20, 0.26, 0.09])

_EYE_CLEARANCE = 10.0
"""From the line through the eyes down to the highest cheek of a mask; on the nose it may rise."""
_NOSE_RISE = 4.5
_MIDDLE = 56.0
_REACH = (44.0, 142.0)
"""Highest and lowest y that a mask can touch."""
_EAR = 48.0
"""From the middle to where a loop disappears behind the ear."""
_EAR_HEIGHTS = (58.0, 70.0)
_FADING = (1.0, 0.88, 0.76, 0.64, 0.52, 0.4)
"""Of a loop, segment by segment from mask to ear."""
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
    accent: Colour = _WHITE
    nose: float = 0.6
    width: float = 1.0
    chin: float = 0.0
    tilt: float = 0.0
    outline: tuple[float, ...] = (0.0,) * 6
    period: float = 8.0
    angle: float = 0.0
    phase: float = 0.5
    straps: bool = True
    strap_colour: Colour = _WHITE

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
        cut = _CUTS[shape]
        colour = _pick(cut.colours, next(share))
        accents = tuple(c for c in _CUTS["cloth"].colours if _contrast(c, colour) > 60)
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
            strap_colour=_BLACK if strap < 0.15 or colour == _BLACK else _WHITE,
        )


def render_mask(
    image: np.ndarray, parameters: MaskParameters, landmarks: np.ndarray | None = None
) -> np.ndarray:
    """Put a mask on the face in a crop.

    Args:
        image: uint8 RGB (H, W, 3), sides of `MIN_SIDE` or more; it is not changed.
        parameters: The mask.
        landmarks: (5, 2), (x, y) in pixels of `image` in the template's order. By default those
            of an aligned crop: the template scaled to the longer side and centred, which is
            InsightFace's for 112x112 as for its 96 pixels wide crops.

    Returns:
        uint8 RGB (H, W, 3). Pixels at which `mask_opacity` is 0 are those of `image`.

    Raises:
        FacedistillError: If the image is no such array, or landmarks are degenerate or show no
            face within the image.
    """
    _check_image(image)
    frame = _Frame.of(image.shape[0], image.shape[1], landmarks)
    cloth = _Cloth(frame, parameters)
    patch = image[frame.rows, frame.columns]
    light, tones = _light(image, patch, frame, parameters)
    # What is drawn first is seen through the openings of all that is drawn over it.
    open_ = 1 - cloth.cover
    strap = cloth.straps * light * open_
    open_ *= (1 - cloth.shadow) * (1 - cloth.straps)
    shade, share = cloth.shade() * light * cloth.cover, cloth.print()
    second = None if share is None else shade * share
    result = image.copy()
    part = result[frame.rows, frame.columns]
    for channel, (main, accent, loop) in enumerate(tones):
        drawn = patch[..., channel] * open_
        drawn += shade * main
        drawn += strap * loop
        if second is not None:
            drawn += second * (accent - main)
        np.minimum(drawn, 255, out=drawn)
        part[..., channel] = np.rint(drawn, out=drawn)
    return result


def mask_opacity(
    height: int, width: int, parameters: MaskParameters, landmarks: np.ndarray | None = None
) -> np.ndarray:
    """Return how much of each pixel `render_mask` covers, shadow and straps included.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        parameters: The mask.
        landmarks: See `render_mask`.

    Returns:
        float32 (height, width), 0 where the image is seen as it is, 1 where the cloth hides it.

    Raises:
        FacedistillError: If landmarks are degenerate or show no face within the image.
    """
    frame = _Frame.of(height, width, landmarks)
    cloth = _Cloth(frame, parameters)
    opacity = np.zeros((height, width), np.float32)
    through = (1 - cloth.shadow) * (1 - cloth.straps) * (1 - cloth.cover)
    opacity[frame.rows, frame.columns] = 1 - through
    return opacity


class _Frame(NamedTuple):
    """The part of an image that a mask can touch, in the template's coordinates.

    Attributes:
        rows: Of the part.
        columns: Of the part.
        x: float32 (h, w), pixels of a 112-pixel crop right of the middle of an upright face.
        y: float32 (h, w), such pixels below the crop's top.
        to_image: (2, 3), from the template's coordinates to pixels of the part.
        scale: Pixels of the image per pixel of a 112-pixel crop.
        face: float64 (5, 2), the landmarks in the template's coordinates.
    """

    rows: slice
    columns: slice
    x: np.ndarray
    y: np.ndarray
    to_image: np.ndarray
    scale: float
    face: np.ndarray

    @classmethod
    def of(cls, height: int, width: int, landmarks: np.ndarray | None) -> _Frame:
        """Find the face."""
        if landmarks is None:
            return _template_frame(height, width)
        points = np.asarray(landmarks, np.float64)
        if points.shape != ARCFACE_TEMPLATE.shape:
            raise FacedistillError(f"landmarks of a mask have shape {points.shape}, not (5, 2)")
        return cls.at(height, width, points)

    @classmethod
    def at(cls, height: int, width: int, points: np.ndarray) -> _Frame:
        """Take the face with these landmarks."""
        into = similarity_transform(points, ARCFACE_TEMPLATE)
        back = np.linalg.inv(np.vstack([into, [0, 0, 1]]))[:2]
        box = [(x, y) for x in (0, ARCFACE_SIZE) for y in _REACH]
        corners = transform_points(np.array(box), back)
        first = np.maximum(np.floor(corners.min(axis=0)), 0)
        last = np.minimum(np.ceil(corners.max(axis=0)), (width - 1, height - 1))
        if (last - first < 3).any():
            raise FacedistillError(
                f"the landmarks of a mask show no face within the {width} x {height} image"
            )
        (left, top), (right, bottom) = first.astype(int).tolist(), last.astype(int).tolist()
        column = np.arange(left, right + 1, dtype=np.float32)
        row = np.arange(top, bottom + 1, dtype=np.float32)[:, None]
        (a, b, c), (d, e, f) = into.tolist()
        return cls(
            rows=slice(top, bottom + 1),
            columns=slice(left, right + 1),
            x=(a * column + (c - _MIDDLE)) + b * row,
            y=(d * column + f) + e * row,
            to_image=back - [[0, 0, left], [0, 0, top]],
            scale=float(np.hypot(back[0, 0], back[1, 0])),
            face=transform_points(points, into),
        )


@lru_cache(maxsize=8)
def _template_frame(height: int, width: int) -> _Frame:
    """Remember the frame of aligned crops of one size: all faces of a data set share it."""
    side = max(height, width)
    shift = np.array([width - side, height - side]) / 2
    return _Frame.at(height, width, template(side) + shift)


class _Cloth:
    """A mask at every pixel of a frame.

    Attributes:
        cover: float32 (h, w), share of the pixel under the cloth.
        shadow: float32 (h, w), light that the cloth takes from the skin beside it.
        straps: float32 (h, w), share of the pixel under a strap.
    """

    def __init__(self, frame: _Frame, mask: MaskParameters) -> None:
        self.frame, self.mask, cut = frame, mask, _CUTS[mask.shape]
        bend = mask.outline
        self.turn = float(np.tan(np.deg2rad(mask.tilt)))
        y = frame.y + self.turn * frame.x
        middle = _middle(frame, y)
        # A turned head shows less of its far cheek: the middle has moved, the sides have not.
        x = frame.x - middle
        half = cut.half_width * mask.width * (1 - (cut.taper / 45) * (y - 70))
        left, right = 1 + 0.04 * bend[4], 1 + 0.04 * bend[5]
        half *= np.where(x < 0, left, right)
        half += np.where(x < 0, middle, -middle)
        u = x / half
        squared = u * u
        top, bottom = self._edges(cut, x, u, squared)
        self.x, self.u, self.squared, self.y = x, u, squared, y
        side = (1 - np.abs(u)) * half
        upper = y - top
        self.down = upper / np.maximum(bottom - top, 1)
        inner = _smooth_min(upper, bottom - y, cut.corner)
        self.depth = _smooth_min(inner, side, cut.corner)
        # An edge is as soft as a camera's: a pixel and a half of a 112-pixel crop, or of the image.
        sharpness = 1 / max(1.4, 1.2 / frame.scale)
        self.cover = np.clip(self.depth * sharpness + 0.5, 0, 1)
        near = np.clip(1 + self.depth / 3, 0, 1)
        self.shadow = 0.3 * near * near
        self.straps = self._straps(cut)

    def _edges(
        self, cut: _Cut, x: np.ndarray, u: np.ndarray, squared: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the y of the top and of the bottom edge at each pixel."""
        mask, bend = self.mask, self.mask.outline
        bridge = 68.5 - 11.5 * mask.nose
        # Nose pieces narrow towards the bridge.
        rise = np.exp(x * x * np.float32(-1 / 9.0**2))
        cheek = bridge + cut.bump
        top = cheek + (cut.fall + 2.0 * bend[1] - 4 * (1 - mask.nose)) * squared
        top += (1.6 * bend[0]) * u - cut.bump * rise
        eyes = self.frame.face[:2]
        slope = float(eyes[1, 1] - eyes[0, 1]) / max(float(eyes[1, 0] - eyes[0, 0]), 10.0)
        lowest = float(eyes[0, 1] - slope * (eyes[0, 0] - _MIDDLE)) + _EYE_CLEARANCE
        limit = (slope + self.turn) * self.frame.x + lowest
        np.maximum(top, limit - _NOSE_RISE * rise, out=top)
        mouth = float(self.frame.face[3:, 1].mean() - ARCFACE_TEMPLATE[3:, 1].mean())
        mouth = min(max(mouth, -8.0), 12.0)
        bottom = (cut.bottom + 5 * mask.chin + mouth) - (cut.rise + 3 * bend[3]) * squared
        bottom += (2.0 * bend[2]) * u
        return top, bottom

    def _straps(self, cut: _Cut) -> np.ndarray:
        """Return the cover of the loops to the ears, fading where hair and ears hide them."""
        layer = np.zeros(self.cover.shape, np.uint8)
        if self.mask.straps:
            width = 1.4 * self.frame.scale
            thickness = max(1, round(width))
            strength = 235 * min(1.0, width / thickness)
            fixed = np.rint(self._loops(cut) * 16).astype(np.int32)
            for place, fade in enumerate(_FADING):
                lines = list(fixed[:, place : place + 2])
                cv2.polylines(layer, lines, False, strength * fade, thickness, cv2.LINE_AA, 4)
        return layer * np.float32(1 / 255)

    def _loops(self, cut: _Cut) -> np.ndarray:
        """Return points along the loops from mask to ear, (4, 7, 2) in pixels of the part."""
        half = cut.half_width * self.mask.width - 3
        starts = (68.5 - 11.5 * self.mask.nose + cut.fall + 5, cut.bottom - cut.rise - 4)
        along = np.linspace(0, 1, len(_FADING) + 1)
        out = half + (_EAR - half) * along
        points = np.empty((4, len(along), 2))
        for loop, (start, ear) in enumerate(zip(starts, _EAR_HEIGHTS, strict=True)):
            # Taut, with a little sag.
            points[loop::2, :, 1] = start + (ear - start) * along + 3 * along * (1 - along)
        points[:2, :, 0], points[2:, :, 0] = out, -out
        points[..., 1] -= self.turn * points[..., 0]
        points[..., 0] += _MIDDLE
        return transform_points(points, self.frame.to_image)

    def print(self) -> np.ndarray | None:
        """Return the accent colour's share at each pixel, None for cloth of one colour."""
        mask = self.mask
        if mask.texture in ("plain", "pleats"):
            return None
        # The sides are seen at a slant.
        across, along = self.x * (1 + 0.25 * self.squared), 50 * self.down
        return print_share(mask.texture, across, along, mask.period, mask.angle, mask.phase)

    def shade(self) -> np.ndarray:
        """Return the light on the cloth's own form: round, folded, hemmed and creased."""
        mask, depth, down = self.mask, self.depth, self.down
        shade = 1.06 - 0.20 * self.squared - 0.16 * down * down
        shade -= 0.20 * np.exp(np.abs(depth) * -0.9)
        if mask.shape == "kn95":
            # Two flat panels meet in a seam; the folded edge catches light beside it.
            x = self.x
            shade += 0.05 * np.clip(x * 0.3, -1, 1) * (1 if mask.phase < 0.5 else -1)
            shade -= 0.16 * np.exp(x * x * -0.7)
            shade -= _line(depth, 4.0) * 0.08
        elif mask.shape == "cup":
            shade += 0.10 - 0.26 * (self.squared + np.square(2 * down - 0.85))
            shade -= _line(depth, 4.5) * 0.14
        elif mask.shape == "duckbill":
            fold = (down - 0.50 + 0.10 * self.squared) * 30
            shade += 0.06 - 0.15 * np.clip(fold * 0.3 + 0.5, 0, 1)
            shade -= 0.14 * np.exp(np.square(fold - 1.5) * -0.4)
        elif mask.shape == "cloth":
            shade -= _line(depth, 2.6) * 0.10
            if mask.texture == "plain":
                shade -= 0.10 * np.exp(self.x * self.x * -0.6)
        else:
            shade -= _line(depth, 3.2) * 0.07
        if mask.texture == "pleats":
            shade *= pleat_light(down + 0.04 * self.squared, 4.0, mask.phase)
        elif mask.shape in ("surgical", "cloth"):
            wave = 5 * self.u * (1 if mask.phase < 0.5 else -1) + 7 * down + 6.3 * mask.phase
            shade += 0.035 * np.sin(wave + 2 * self.squared)
        return shade


def _middle(frame: _Frame, y: np.ndarray) -> np.ndarray:
    """Return how far the face's middle line is from an upright frontal face's, at each pixel.

    Through the middle of the eyes, the nose and the middle of the mouth.
    """
    eyes, nose, mouth = (
        float(np.clip((frame.face[part] - ARCFACE_TEMPLATE[part])[..., 0].mean(), -14, 14))
        for part in (slice(0, 2), slice(2, 3), slice(3, 5))
    )
    if max(map(abs, (eyes, nose, mouth))) < 1e-3:
        return np.zeros_like(y)
    upper = np.clip((y - 52) / 20, 0, 1)
    lower = np.clip((y - 72) / 20, 0, 1)
    return eyes + (nose - eyes) * upper + (mouth - nose) * lower


def _light(
    image: np.ndarray, patch: np.ndarray, frame: _Frame, mask: MaskParameters
) -> tuple[np.ndarray, list[list[float]]]:
    """Return the light on the face (h, w), and (cloth, accent, straps) in it for each channel.

    Skin is not white, so a face's brightness says only half of how strong the light is; the other
    half is how bright the brightest parts of the image are. Little colour in the face means a
    photograph of little colour, in which the mask has no more.
    """
    small = cv2.resize(patch, (10, 10), interpolation=cv2.INTER_AREA).astype(np.float32)
    gray = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (5, 5), 1.3)
    red, green, blue = small[1:7, 2:8].reshape(-1, 3).mean(axis=0).tolist()
    level = max(0.299 * red + 0.587 * green + 0.114 * blue, 8.0)
    thumbnail = cv2.resize(image, (12, 12), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    brightest = float(np.sort(thumbnail[:, 1])[-14])
    strength = 0.5 * (level / 150) ** 0.6 + 0.5 * (brightest / 205) ** 0.8
    relative = np.clip(gray / level, 0.5, 1.35) ** 0.8
    height, width = patch.shape[:2]
    light = cv2.resize(relative, (width, height), interpolation=cv2.INTER_CUBIC)
    light *= np.float32(np.clip(strength, 0.25, 1.1))
    saturation = min(1.0, (max(red, green, blue) - min(red, green, blue)) / level / 0.15)
    # Of the colour of skin in white light, about (1.22, 0.94, 0.8) of its luminance.
    cast = np.array([red / 1.22, green / 0.94, blue / 0.80], np.float32) / level
    cast = 1 + saturation * (np.clip(cast, 0.6, 1.5) ** 0.6 - 1)
    colours = (mask.colour, mask.accent, mask.strap_colour)
    tones = np.stack([_desaturated(colour, saturation) * cast for colour in colours])
    return light, tones.T.tolist()


def _desaturated(colour: Colour, saturation: float) -> np.ndarray:
    rgb = np.array(colour, np.float32)
    gray = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    return gray + np.float32(saturation) * (rgb - gray)


def _smooth_min(one: np.ndarray, other: np.ndarray, radius: float) -> np.ndarray:
    """Return the smaller of two distances, rounded off where they are alike."""
    near = np.maximum(radius - np.abs(one - other), 0)
    return np.minimum(one, other) - near * near * np.float32(0.25 / radius)


def _line(depth: np.ndarray, place: float) -> np.ndarray:
    """Return a soft line parallel to the edge, 0..1."""
    return np.exp(np.square(depth - place) * -1.2)


def _pick(choices: tuple[T, ...], share: float) -> T:
    return choices[int(len(choices) * share)]


def _tint(colour: Colour, wear: float, red: float, blue: float) -> Colour:
    """Return a colour lighter or darker by a factor, and a little off in hue."""
    factors = (wear * (1 + 0.06 * (red - 0.5)), wear, wear * (1 + 0.06 * (blue - 0.5)))
    r, g, b = (min(255, round(c * f)) for c, f in zip(colour, factors, strict=True))
    return r, g, b


def _contrast(one: Colour, other: Colour) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _check_image(image: np.ndarray) -> None:
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
    ):
        what = (
            f"{image.dtype} {image.shape}"
            if isinstance(image, np.ndarray)
            else type(image).__name__
        )
        raise FacedistillError(f"a mask is drawn on uint8 RGB (H, W, 3), not on {what}")
    if min(image.shape[:2]) < MIN_SIDE:
        raise FacedistillError(
            f"an image of {image.shape[1]} x {image.shape[0]} pixels is too small for a mask: give "
            f"sides of at least {MIN_SIDE}"
        )


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
