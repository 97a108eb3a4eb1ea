"""Training augmentation of one crop, repeatable sample by sample.

Everything random comes from one vector of uniform numbers that is drawn at once, and every
decision has its own place in it, the flip the first. So the same generator gives the same flip
and the same rotation whatever else is switched on, and a resumed run sees the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, auto

import cv2
import numpy as np

from facedistill.faces.landmarks import mirror, reduce_to_five, to_fractions, to_pixels
from facedistill.faces.masks.face_mask import render_mask
from facedistill.faces.masks.mask_parameters import MaskParameters
from facedistill.recipe.augmentation_options import Augmentation
from facedistill.runtime.alignment import transform_points


class _Draw(IntEnum):
    """Place of each decision in the vector of uniform numbers; new ones go to the end."""

    FLIP = 0
    AFFINE = auto()
    SHIFT_X = auto()
    SHIFT_Y = auto()
    SCALE = auto()
    ROTATION = auto()
    OCCLUSION = auto()
    OCCLUSION_WIDTH = auto()
    OCCLUSION_HEIGHT = auto()
    OCCLUSION_X = auto()
    OCCLUSION_Y = auto()
    OCCLUSION_RED = auto()
    OCCLUSION_GREEN = auto()
    OCCLUSION_BLUE = auto()
    BRIGHTNESS = auto()
    CONTRAST = auto()
    GRAYSCALE = auto()
    BLUR = auto()
    BLUR_SIGMA = auto()
    DOWNSCALE = auto()
    DOWNSCALE_FACTOR = auto()
    JPEG = auto()
    JPEG_QUALITY = auto()
    MASK = auto()
    MASK_SEED = auto()


class Augmenter:
    """What a recipe's options do to an image and to its landmarks.

    Args:
        options: What may happen, and how much of it.
    """

    def __init__(self, options: Augmentation) -> None:
        self.options = options

    def __call__(
        self, image: np.ndarray, rng: np.random.Generator, landmarks: np.ndarray | None = None
    ) -> tuple[np.ndarray, bool]:
        """Augment one image.

        Args:
            image: uint8 RGB (H, W, 3); it is not changed.
            rng: Where the random numbers come from, say `sample_rng(seed, epoch, index)`.
            landmarks: The image's, (P, 2), fractions of its sides; P one of
                `faces.landmarks.MARKUPS`. For a mask, and without any the crop must be aligned.

        Returns:
            The augmented image, uint8 RGB (H, W, 3) and contiguous (`image` itself if nothing
            happened to it), and whether it was flipped.

        Raises:
            FacedistillError: If a mask is to be drawn on an image too small for it, or where the
                landmarks show no face.
        """
        if self.options.flip_only:
            flipped = rng.random() < self.options.flip
            return cv2.flip(image, 1) if flipped else np.ascontiguousarray(image), bool(flipped)
        draws = rng.random(len(_Draw)).tolist()
        flipped = draws[_Draw.FLIP] < self.options.flip
        if flipped:
            image = cv2.flip(image, 1)
        if draws[_Draw.MASK] < self.options.mask:
            image = _put_on_mask(image, draws[_Draw.MASK_SEED], landmarks, flipped)
        if self.options.moves and draws[_Draw.AFFINE] < self.options.affine:
            image = self._move(image, draws)
        if draws[_Draw.OCCLUSION] < self.options.occlusion:
            image = self._occlude(image, draws)
        if self.options.brightness or self.options.contrast:
            image = self._relight(image, draws)
        if draws[_Draw.GRAYSCALE] < self.options.grayscale:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if draws[_Draw.BLUR] < self.options.blur:
            sigma = _between(self.options.blur_sigma, draws[_Draw.BLUR_SIGMA])
            image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        if draws[_Draw.DOWNSCALE] < self.options.downscale:
            image = _downscale(
                image, _between(self.options.downscale_factor, draws[_Draw.DOWNSCALE_FACTOR])
            )
        if draws[_Draw.JPEG] < self.options.jpeg:
            image = jpeg_compressed(
                image, round(_between(self.options.jpeg_quality, draws[_Draw.JPEG_QUALITY]))
            )
        return np.ascontiguousarray(image), flipped

    def move_landmarks(
        self, landmarks: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray:
        """Return where an image's landmarks are once it is augmented.

        Args:
            landmarks: (P, 2), fractions of the image's sides; P one of `faces.landmarks.MARKUPS`
                where mirror images can happen.
            shape: The image's, (height, width, ...).
            rng: A generator in the state of the one that the image is augmented with.

        Returns:
            float32 (P, 2); points may have left the image.
        """
        draws = rng.random(len(_Draw)).tolist()
        if draws[_Draw.FLIP] < self.options.flip:
            landmarks = mirror(landmarks)
        if self.options.moves and draws[_Draw.AFFINE] < self.options.affine:
            moved = transform_points(to_pixels(landmarks, shape), self._motion(shape, draws))
            landmarks = to_fractions(moved, shape)
        return landmarks.astype(np.float32)

    def _motion(self, shape: tuple[int, ...], draws: Sequence[float]) -> np.ndarray:
        """Return shift, scale and rotation as one matrix (2, 3) over pixels."""
        height, width = shape[:2]
        # Pixel (0, 0) is a square's centre, so the image's middle is half a pixel short of W / 2.
        middle = ((width - 1) / 2, (height - 1) / 2)
        angle = self.options.rotation * _signed(draws[_Draw.ROTATION])
        matrix = cv2.getRotationMatrix2D(
            middle, angle, 1 + self.options.scale * _signed(draws[_Draw.SCALE])
        )
        matrix[0, 2] += self.options.shift * width * _signed(draws[_Draw.SHIFT_X])
        matrix[1, 2] += self.options.shift * height * _signed(draws[_Draw.SHIFT_Y])
        return matrix

    def _move(self, image: np.ndarray, draws: Sequence[float]) -> np.ndarray:
        return cv2.warpAffine(
            image,
            self._motion(image.shape, draws),
            (image.shape[1], image.shape[0]),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    def _occlude(self, image: np.ndarray, draws: Sequence[float]) -> np.ndarray:
        height = _between(self.options.occlusion_size, draws[_Draw.OCCLUSION_HEIGHT])
        width = _between(self.options.occlusion_size, draws[_Draw.OCCLUSION_WIDTH])
        rows = _span(image.shape[0], height, draws[_Draw.OCCLUSION_Y])
        columns = _span(image.shape[1], width, draws[_Draw.OCCLUSION_X])
        colour = draws[_Draw.OCCLUSION_RED : _Draw.OCCLUSION_BLUE + 1]
        image = image.copy()
        image[rows, columns] = [int(256 * part) for part in colour]
        return image

    def _relight(self, image: np.ndarray, draws: Sequence[float]) -> np.ndarray:
        gain = 1 + self.options.brightness * _signed(draws[_Draw.BRIGHTNESS])
        stretch = 1 + self.options.contrast * _signed(draws[_Draw.CONTRAST])
        red, green, blue, _ = cv2.mean(image)
        gray = gain * (0.299 * red + 0.587 * green + 0.114 * blue)
        table = gray + stretch * (gain * np.arange(256) - gray)
        return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8))


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one sample in one epoch.

    Philox is counter-based: seed and epoch are its key and the sample's index sets its counter, so
    the streams of different samples never overlap, and no state but these numbers is needed to
    repeat a sample's augmentation on any machine.

    Args:
        seed: The run's seed, 0..2^64 - 1.
        epoch: 0..2^64 - 1.
        index: The sample's index in its data set, 0..2^64 - 1.
    """
    return np.random.Generator(np.random.Philox(key=seed << 64 | epoch, counter=index << 64))


def _signed(uniform: float) -> float:
    return 2 * uniform - 1


def _between(ends: tuple[float, float], uniform: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * uniform


def _span(side: int, fraction: float, place: float) -> slice:
    """Return `fraction` of a side's pixels; `place` 0..1 says where it lies, whole inside."""
    length = round(side * fraction)
    start = int((side - length + 1) * place)
    return slice(start, start + length)


def _put_on_mask(
    image: np.ndarray, uniform: float, landmarks: np.ndarray | None, flipped: bool
) -> np.ndarray:
    """Draw a mask on a face whose landmarks were had before the image was mirrored."""
    points = None
    if landmarks is not None:
        five = reduce_to_five(np.asarray(landmarks))
        points = to_pixels(mirror(five) if flipped else five, image.shape)
    # One number decides the mask, so that masks may be drawn in other ways one day and leave all
    # other draws as they are. A uniform float64 has 53 random bits.
    rng = np.random.default_rng(int(uniform * (1 << 53)))
    return render_mask(image, MaskParameters.draw(rng), points)


def _downscale(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def jpeg_compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Return uint8 RGB (H, W, 3) as a JPEG of this quality, 1 to 100, shows it."""
    # JPEG stores luminance and colour differences, so its channels must come in true order: OpenCV
    # takes BGR.
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV does not read the JPEG it wrote"
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
