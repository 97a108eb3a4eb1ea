"""Face masks drawn on aligned crops.

A mask is an outline over the nose, the mouth and the chin, given by smooth curves in the frame of
the ArcFace template, so that it can be evaluated at every pixel of a crop of any size. The signed
distance to the outline gives its antialiased edge, its hem and its shadow on the skin; the blurred
light of the face under it, and the colour of that light, shade the cloth.
"""

from __future__ import annotations

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.masks.mask_cloth import Cloth
from facedistill.faces.masks.mask_frame import MaskFrame
from facedistill.faces.masks.mask_parameters import MaskParameters
from facedistill.faces.masks.mask_shapes import Colour

MIN_SIDE = 16
"""Smallest side of an image on which a mask is drawn, in pixels."""


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
    frame = MaskFrame.of(image.shape[0], image.shape[1], landmarks)
    cloth = Cloth(frame, parameters)
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
    frame = MaskFrame.of(height, width, landmarks)
    cloth = Cloth(frame, parameters)
    opacity = np.zeros((height, width), np.float32)
    through = (1 - cloth.shadow) * (1 - cloth.straps) * (1 - cloth.cover)
    opacity[frame.rows, frame.columns] = 1 - through
    return opacity


def _light(
    image: np.ndarray, patch: np.ndarray, frame: MaskFrame, mask: MaskParameters
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
