"""From raw pixels to what a network wants to be fed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError
from facedistill.runtime.input_spec import InputSpec


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
