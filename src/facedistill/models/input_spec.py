"""What a network wants to be fed, and the step from raw pixels to that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facedistill.errors import FacedistillError

Color = Literal["RGB", "BGR"]

_LARGEST_SIZE = 4096


@dataclass(frozen=True)
class InputSpec:
    """A network's input: side, colour order and normalisation.

    Attributes:
        size: Side of the square input in pixels.
        color: Order of the three channels the network was trained with.
        mean: Subtracted from pixels 0..255, in the network's own colour order.
        std: Divides the difference, in the network's own colour order.

    Raises:
        FacedistillError: If a value is out of range or of the wrong kind.
    """

    size: int = 112
    color: Color = "RGB"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)

    def __post_init__(self) -> None:
        whole = isinstance(self.size, int) and not isinstance(self.size, bool)
        if not whole or not 1 <= self.size <= _LARGEST_SIZE:
            raise FacedistillError(
                f"input size must be whole pixels in 1..{_LARGEST_SIZE}, not {self.size!r}"
            )
        if self.color not in ("RGB", "BGR"):
            raise FacedistillError(f"input color must be RGB or BGR, not {self.color!r}")
        object.__setattr__(self, "mean", _three_numbers("mean", self.mean))
        object.__setattr__(self, "std", _three_numbers("std", self.std))
        if min(self.std) <= 0:
            raise FacedistillError(f"input std must be positive, not {self.std}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `from_dict` reads them back."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> InputSpec:
        """Build a spec from `to_dict`'s mapping; absent keys take their defaults.

        Raises:
            FacedistillError: If a key is unknown or a value is refused.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise FacedistillError(
                f"input specification has no key {unknown[0]!r}; its keys are {', '.join(known)}"
            )
        return cls(**values)


def _three_numbers(name: str, values: Any) -> tuple[float, float, float]:
    try:
        first, second, third = (float(value) for value in values)
    except (TypeError, ValueError):
        raise FacedistillError(f"input {name} must be three numbers, not {values!r}") from None
    if not all(map(math.isfinite, (first, second, third))):
        raise FacedistillError(f"input {name} must be finite, not {values!r}")
    return first, second, third


class Preprocess(nn.Module):
    """Raw faces to a network's input: resize, colour order, normalisation.

    Nothing here is trained or saved. Images already of the right size pass without resizing, and
    then the module can be traced by `torch.export`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", _per_channel(spec.mean), persistent=False)
        self.register_buffer("std", _per_channel(spec.std), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Convert a batch.

        Args:
            images: uint8 RGB, (B, H, H, 3).

        Returns:
            float32 (B, 3, size, size) in the network's colour order, channels_last in memory.

        Raises:
            FacedistillError: If `images` is not a batch of square uint8 RGB images.
        """
        check_images(images)
        pixels = self.resize(images)
        if self.spec.color == "BGR":
            pixels = pixels.flip(1)
        pixels = pixels.to(torch.float32, memory_format=torch.channels_last)
        return (pixels - self.mean) / self.std

    def resize(self, images: Tensor) -> Tensor:
        """Return uint8 (B, 3, size, size): bilinear with antialiasing, rounded to whole pixels."""
        pixels = images.permute(0, 3, 1, 2)
        side = self.spec.size
        if images.shape[1] == side:
            return pixels
        # Only the CPU kernel takes uint8; elsewhere floats are rounded as that kernel does.
        source = pixels if images.device.type == "cpu" else pixels.float()
        resized = F.interpolate(source, size=(side, side), mode="bilinear", antialias=True)
        return resized if resized.dtype == torch.uint8 else resized.round().to(torch.uint8)


def _per_channel(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)


def check_images(images: Tensor) -> None:
    """Refuse anything but a batch of square uint8 (B, H, H, 3) images.

    Raises:
        FacedistillError: With what was given and what is wanted.
    """
    if not isinstance(images, Tensor):
        raise FacedistillError(f"images must be a torch tensor, not {type(images).__name__}")
    shape = tuple(images.shape)
    if images.dtype != torch.uint8:
        raise FacedistillError(
            f"images must be raw uint8 RGB, not {images.dtype}: the network normalises for itself"
        )
    if len(shape) == 3 and shape[2] == 3:
        raise FacedistillError(f"images must be a batch (B, H, W, 3), not one image {shape}")
    if len(shape) == 4 and shape[3] != 3 and shape[1] == 3:
        raise FacedistillError(f"images must be (B, H, W, 3), not channels first {shape}")
    if len(shape) != 4 or shape[3] != 3:
        raise FacedistillError(f"images must be (B, H, W, 3), not {shape}")
    if shape[1] != shape[2] or shape[1] == 0:
        raise FacedistillError(f"images must be square, not {shape[1]} x {shape[2]}; align them")
