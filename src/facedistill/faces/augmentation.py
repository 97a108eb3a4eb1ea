"""Training augmentation of one crop, repeatable sample by sample.

Everything random comes from one vector of uniform numbers that is drawn at once, and every
decision has its own place in it, the flip the first. So the same generator gives the same flip
and the same rotation whatever else is switched on, and a resumed run sees the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.faces.landmarks import mirror, reduce_to_five, to_fractions, to_pixels
from facedistill.faces.masks.face_mask import MaskParameters, render_mask
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


_LARGEST = {"shift": 0.5, "scale": 0.9, "rotation": 180.0, "brightness": 1.0, "contrast": 1.0}
_PROBABILITIES = (
    *("flip", "affine", "mask", "occlusion", "grayscale", "blur", "downscale", "jpeg"),
)
_RANGES = {
    "occlusion_size": (0.0, 1.0),
    "blur_sigma": (0.1, 20.0),
    "downscale_factor": (0.02, 1.0),
    "jpeg_quality": (1, 100),
}


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training crop; by default a mirror image every second time.

    The operations come in the order in which a camera meets them: what the face wears (mask), its
    pose (flip, affine), what covers it (occlusion), light (brightness, contrast, grayscale), optics
    (blur), resolution (downscale), compression (jpeg). All are off by default but the flip.

    Attributes:
        flip: Probability of a mirror image.
        mask: Probability that the person wears a face mask (see `faces.mask`), drawn over nose and
            mouth: by the image's landmarks, or where it has none, where an aligned crop has them.
            Images must have sides of 16 pixels or more.
        affine: Probability that shift, scale and rotation are applied (in one warp).
        shift: Largest shift in each direction, as a fraction of the side, 0..0.5.
        scale: Largest relative change of size, 0..0.9: the factor is within 1 -+ scale.
        rotation: Largest angle in degrees, 0..180, either way.
        occlusion: Probability of a rectangle of one random colour.
        occlusion_size: Smallest and largest side of it, as fractions of the image's sides.
        brightness: Largest relative change of brightness, 0..1: the factor is within
            1 -+ brightness.
        contrast: Largest relative change of contrast, 0..1: distances from the mean gray are
            multiplied by a factor within 1 -+ contrast.
        grayscale: Probability of dropping the colours; the image keeps three channels.
        blur: Probability of a Gaussian blur.
        blur_sigma: Smallest and largest standard deviation of it, in pixels, 0.1..20.
        downscale: Probability of shrinking the image and enlarging it again.
        downscale_factor: Smallest and largest factor of that, 0.02..1.
        jpeg: Probability of JPEG compression.
        jpeg_quality: Lowest and highest quality of it, integers 1..100.

    Raises:
        FacedistillError: If a field is out of its range; the message names it.
    """

    flip: float = 0.5
    mask: float = 0.0
    affine: float = 1.0
    shift: float = 0.0
    scale: float = 0.0
    rotation: float = 0.0
    occlusion: float = 0.0
    occlusion_size: tuple[float, float] = (0.1, 0.4)
    brightness: float = 0.0
    contrast: float = 0.0
    grayscale: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.5, 2.0)
    downscale: float = 0.0
    downscale_factor: tuple[float, float] = (0.25, 0.9)
    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 95)

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            _check_number(name, getattr(self, name), 1.0)
        for name, largest in _LARGEST.items():
            _check_number(name, getattr(self, name), largest)
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @classmethod
    def none(cls) -> Augmentation:
        """Return the augmentation that leaves every image as it is."""
        return cls(flip=0.0)

    @property
    def moves(self) -> bool:
        """Whether shift, scale or rotation can happen."""
        return self.affine > 0 and max(self.shift, self.scale, self.rotation) > 0

    @property
    def flip_only(self) -> bool:
        """Whether nothing but the flip can happen, so that two views of an image are all."""
        others = (
            self.mask,
            self.occlusion,
            self.brightness,
            self.contrast,
            self.grayscale,
            self.blur,
            self.downscale,
            self.jpeg,
        )
        return not self.moves and max(others) == 0

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
        if self.flip_only:
            flipped = rng.random() < self.flip
            return cv2.flip(image, 1) if flipped else np.ascontiguousarray(image), bool(flipped)
        draws = rng.random(len(_Draw)).tolist()
        flipped = draws[_Draw.FLIP] < self.flip
        if flipped:
            image = cv2.flip(image, 1)
        if draws[_Draw.MASK] < self.mask:
            image = _put_on_mask(image, draws[_Draw.MASK_SEED], landmarks, flipped)
        if self.moves and draws[_Draw.AFFINE] < self.affine:
            image = self._move(image, draws)
        if draws[_Draw.OCCLUSION] < self.occlusion:
            image = self._occlude(image, draws)
        if self.brightness or self.contrast:
            image = self._relight(image, draws)
        if draws[_Draw.GRAYSCALE] < self.grayscale:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if draws[_Draw.BLUR] < self.blur:
            sigma = _between(self.blur_sigma, draws[_Draw.BLUR_SIGMA])
            image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        if draws[_Draw.DOWNSCALE] < self.downscale:
            image = _downscale(
                image, _between(self.downscale_factor, draws[_Draw.DOWNSCALE_FACTOR])
            )
        if draws[_Draw.JPEG] < self.jpeg:
            image = _compress(image, round(_between(self.jpeg_quality, draws[_Draw.JPEG_QUALITY])))
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
        if draws[_Draw.FLIP] < self.flip:
            landmarks = mirror(landmarks)
        if self.moves and draws[_Draw.AFFINE] < self.affine:
            moved = transform_points(to_pixels(landmarks, shape), self._motion(shape, draws))
            landmarks = to_fractions(moved, shape)
        return landmarks.astype(np.float32)

    def _motion(self, shape: tuple[int, ...], draws: Sequence[float]) -> np.ndarray:
        """Return shift, scale and rotation as one matrix (2, 3) over pixels."""
        height, width = shape[:2]
        # Pixel (0, 0) is a square's centre, so the image's middle is half a pixel short of W / 2.
        middle = ((width - 1) / 2, (height - 1) / 2)
        angle = self.rotation * _signed(draws[_Draw.ROTATION])
        matrix = cv2.getRotationMatrix2D(
            middle, angle, 1 + self.scale * _signed(draws[_Draw.SCALE])
        )
        matrix[0, 2] += self.shift * width * _signed(draws[_Draw.SHIFT_X])
        matrix[1, 2] += self.shift * height * _signed(draws[_Draw.SHIFT_Y])
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
        height = _between(self.occlusion_size, draws[_Draw.OCCLUSION_HEIGHT])
        width = _between(self.occlusion_size, draws[_Draw.OCCLUSION_WIDTH])
        rows = _span(image.shape[0], height, draws[_Draw.OCCLUSION_Y])
        columns = _span(image.shape[1], width, draws[_Draw.OCCLUSION_X])
        colour = draws[_Draw.OCCLUSION_RED : _Draw.OCCLUSION_BLUE + 1]
        image = image.copy()
        image[rows, columns] = [int(256 * part) for part in colour]
        return image

    def _relight(self, image: np.ndarray, draws: Sequence[float]) -> np.ndarray:
        gain = 1 + self.brightness * _signed(draws[_Draw.BRIGHTNESS])
        stretch = 1 + self.contrast * _signed(draws[_Draw.CONTRAST])
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


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
    # JPEG stores luminance and colour differences, so its channels must come in true order: OpenCV
    # takes BGR.
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV does not read the JPEG it wrote"
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _check_number(name: str, value: object, largest: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise FacedistillError(f"augmentation.{name} is {value!r}: give a number 0..{largest:g}")


def _check_range(name: str, value: object, low: float, high: float) -> None:
    kind: type | tuple[type, ...] = int if isinstance(low, int) else (int, float)
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or any(isinstance(end, bool) or not isinstance(end, kind) for end in value)
        or not low <= value[0] <= value[1] <= high
    ):
        raise FacedistillError(
            f"augmentation.{name} is {value!r}: give two numbers (smallest, largest) "
            f"within {low:g}..{high:g}"
        )
