"""Face masks drawn on aligned crops.

A mask is an outline over the nose, the mouth and the chin, given by smooth curves in the frame of
the ArcFace template, so that it can be evaluated at every pixel of a crop of any size. The distance
to the outline gives its antialiased edge, its hem and its shadow on the skin; the blurred light of
the face under it, and the colour of that light, shade the cloth.
"""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.masks.mask_cloth import Cloth
from facedistill.faces.masks.mask_parameters import MaskParameters

MIN_SIDE = 16
"""Smallest side of an image on which a mask is drawn, in pixels."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)

_SKIN = np.array([1.22, 0.94, 0.80], np.float32)
"""Colour of skin in white light, relative to its luminance."""


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
        uint8 RGB (H, W, 3). Pixels that the mask and its shadow do not touch are those of `image`.

    Raises:
        FacedistillError: If the image is no such array, or landmarks are degenerate or show no
            face within the image.
    """
    _check_image(image)
    cloth = Cloth(image.shape[0], image.shape[1], parameters, landmarks)
    result = image.copy()
    part = result[cloth.part]
    light, (colour, accent) = _light(image, part, parameters)
    shade, stripes = cloth.shade() * light * cloth.cover, cloth.stripes()
    skin = (1 - cloth.shadow) * (1 - cloth.cover)
    for channel, tone in enumerate(colour):
        dye = tone if stripes is None else tone + stripes * (accent[channel] - tone)
        part[..., channel] = np.rint(np.minimum(part[..., channel] * skin + shade * dye, 255))
    return result


def _light(
    image: np.ndarray, face: np.ndarray, mask: MaskParameters
) -> tuple[np.ndarray, list[list[float]]]:
    """Return the light on the face (h, w), and the mask's colour and accent in it.

    Skin is not white, so a face's brightness says only half of how strong the light is; the other
    half is how bright the brightest parts of the image are. Little colour in the face means a
    photograph of little colour, in which the mask has no more.
    """
    small = cv2.resize(face, (10, 10), interpolation=cv2.INTER_AREA).astype(np.float32)
    skin = small[1:7, 2:8].mean(axis=(0, 1))
    level = max(float(skin @ _LUMINANCE), 8.0)
    thumbnail = cv2.resize(image, (12, 12), interpolation=cv2.INTER_AREA)
    brightest = float(np.sort(thumbnail[..., 1], None)[-14])
    strength = min(0.5 * (level / 150) ** 0.7 + 0.5 * (brightest / 205) ** 0.7, 1.1)
    relative = cv2.GaussianBlur(small, (5, 5), 1.3) @ _LUMINANCE / level
    light = np.clip(relative, 0.55, 1.3) * np.float32(strength)
    saturation = min(1.0, float(np.ptp(skin)) / level / 0.15)
    cast = np.clip(skin / _SKIN / level, 0.6, 1.5) ** 0.6
    colours = np.array((mask.colour, mask.accent), np.float32)
    gray = (colours @ _LUMINANCE)[:, None]
    tones = gray + saturation * (colours * cast - gray)
    return cv2.resize(light, face.shape[1::-1], interpolation=cv2.INTER_CUBIC), tones.tolist()


def _check_image(image: np.ndarray) -> None:
    kind = getattr(image, "dtype", type(image).__name__)
    shape: tuple[int, ...] = getattr(image, "shape", ())
    if kind != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise FacedistillError(f"a mask is drawn on uint8 RGB (H, W, 3), not on {kind} {shape}")
    if min(shape[:2]) < MIN_SIDE:
        raise FacedistillError(
            f"an image of {shape[1]} x {shape[0]} pixels is too small for a mask: give sides of at "
            f"least {MIN_SIDE}"
        )
