"""What may happen to a training crop: the options, and their ranges.

The operations themselves are `faces.augmentation`.
"""

from __future__ import annotations

from dataclasses import dataclass

from facedistill.core.errors import FacedistillError

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
        mask: Probability that the face wears a mask (see `faces.masks.face_mask`), drawn over nose
            and mouth: by the image's landmarks, or where it has none, where an aligned crop has
            them. Images must have sides of 16 pixels or more.
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
