"""The last pixel features of a network, be they a CNN's map or a Transformer's tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import isqrt
from typing import Literal

import torch
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.distill.teachers.base import Network
from facedistill.models.device import device_of
from facedistill.models.evaluation_mode import evaluation_mode
from facedistill.models.outputs import Outputs


@dataclass(frozen=True)
class PixelFeatures:
    """Where a network's last pixel features are had, and their layout.

    Attributes:
        output: The field of `Outputs` that holds them.
        channels: C.
        side: Of the square grid, row by row from the upper left corner; tokens past side x side
            (prompts) have no place on it.
        stage_channels: Of the maps at the ends of the stages, the first one's first, where the
            network tells them.
    """

    output: Literal["feature_map", "tokens"]
    channels: int
    side: int
    stage_channels: tuple[int, ...] = ()

    @property
    def stages(self) -> int:
        """Of how many stages, the last included, the features at the end are had."""
        return max(1, len(self.stage_channels))

    def rows(self, outputs: Outputs) -> torch.Tensor:
        """Return (B, N, C): every pixel's features, and those of prompts behind them.

        Raises:
            FacedistillError: If the network did not give them.
        """
        found = getattr(outputs, self.output)
        if found is None:
            raise FacedistillError(f"the network gave no {self.output}")
        return found.flatten(2).transpose(1, 2) if self.output == "feature_map" else found

    def grid(self, outputs: Outputs) -> torch.Tensor:
        """Return (B, C, side, side): the pixels' features alone, in their places."""
        pixels = self.rows(outputs)[:, : self.side**2]
        return pixels.transpose(1, 2).unflatten(2, (self.side, self.side))


def find_pixel_features(network: Network) -> PixelFeatures | None:
    """Ask a network for the features of one black image; None if it gives embeddings only.

    Its mode is left as it was; batch statistics and gradients are not touched.

    Raises:
        FacedistillError: If they fill no square grid.
    """
    output: Literal["feature_map", "tokens"] = (
        "tokens" if "tokens" in network.gives else "feature_map"
    )
    if output not in network.gives:
        return None
    size = network.input.size
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    outputs = _asked(network, image, {output, "stage_maps"} & network.gives)
    features = getattr(outputs, output)
    if output == "feature_map":
        _, channels, height, width = features.shape
        if height != width:
            raise _not_square(network, f"a map of {height} x {width} pixels")
        ends = tuple(each.shape[1] for each in outputs.stage_maps or ())
        return PixelFeatures(output, channels, height, ends)
    _, count, channels = features.shape
    if isqrt(count) ** 2 != count:
        raise _not_square(network, f"{count} tokens")
    return PixelFeatures(output, channels, isqrt(count))


def _not_square(network: Network, what: str) -> FacedistillError:
    return FacedistillError(
        f"{network.name} gives {what}, which fill no square grid of pixels: give another network, "
        "or embed the faces by this one and give teacher.bank, which needs no pixels"
    )


def _asked(network: Network, image: torch.Tensor, needs: Collection[str]) -> Outputs:
    with evaluation_mode(network), torch.no_grad():
        return network(image.to(device_of(network)), needs)


def resampled(grid: torch.Tensor, side: int) -> torch.Tensor:
    """Return (B, C, side, side) of a square (B, C, H, H) grid.

    Each new cell is the mean of what it covers where the grid shrinks, and linear between cell
    centres where it grows.
    """
    if grid.shape[-1] == side:
        return grid
    if grid.shape[-1] > side:
        return F.adaptive_avg_pool2d(grid, side)
    return F.interpolate(grid, (side, side), mode="bilinear", align_corners=False)
