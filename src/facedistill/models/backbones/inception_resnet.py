"""Inception-ResNet-v1 as FaceNet's successors train it for faces.

Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
AAAI 2017 (arXiv 1602.07261), with shallower stages: five, ten and six residual units. Parameters
are named as in facenet-pytorch, whose checkpoints load key for key; its classes are left out.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from facedistill.models.backbones.base import EmbeddingSize, StagedBackbone, scaled
from facedistill.models.registry import register

Kernel = int | tuple[int, int]

EPS = 1e-3
"""Added to variances, as TensorFlow does."""

UnpaddedSize = Annotated[int, Field(ge=80, le=1024, multiple_of=16)]
"""Side of the square input; convolutions without padding need 80 pixels."""

InceptionWidth = Annotated[float, Field(ge=0.125, le=4)]
"""Multiplies the channels of every branch."""


class Conv(nn.Module):
    """Convolution, batch norm and ReLU.

    Args:
        inputs: C.
        outputs: C'.
        kernel: Its sides.
        stride: Its step.
        pad: Whether the map keeps its side, at stride 1.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, pad: bool = False
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (sides[0] // 2, sides[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, sides, stride, around, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        return torch.relu(self.bn(self.conv(x)))


def _branch(inputs: int, outputs: list[int], kernels: list[Kernel], stride: int = 1) -> nn.Module:
    """Convolutions one after the other, the last with the stride and, where it has one, no pad."""
    widths, last = [inputs, *outputs], len(kernels) - 1
    convs = [
        Conv(
            widths[place],
            widths[place + 1],
            kernel,
            stride if place == last else 1,
            pad=stride == 1 or place < last,
        )
        for place, kernel in enumerate(kernels)
    ]
    return convs[0] if len(convs) == 1 else nn.Sequential(*convs)


class Residual(nn.Module):
    """Branches side by side, brought back to the map's channels and added to it.

    Args:
        channels: C.
        branches: Each maps C to as many channels as `mixed` says in all.
        mixed: Channels of all branches together.
        scale: Multiplies what is added.
        activated: Whether a ReLU follows.
    """

    def __init__(
        self,
        channels: int,
        branches: list[nn.Module],
        mixed: int,
        scale: float,
        activated: bool = True,
    ) -> None:
        super().__init__()
        self.count, self.scale, self.activated = len(branches), scale, activated
        for place, branch in enumerate(branches):
            self.add_module(f"branch{place}", branch)
        self.conv2d = nn.Conv2d(mixed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        mixed = [self.get_submodule(f"branch{place}")(x) for place in range(self.count)]
        x = x + self.scale * self.conv2d(torch.cat(mixed, 1))
        return torch.relu(x) if self.activated else x


class Reduction(nn.Module):
    """Branches that halve the map, beside its maximum."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.count = len(branches)
        for place, branch in enumerate(branches):
            self.add_module(f"branch{place}", branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', (H - 1) / 2, (W - 1) / 2)."""
        mixed = [self.get_submodule(f"branch{place}")(x) for place in range(self.count)]
        return torch.cat([*mixed, F.max_pool2d(x, 3, 2)], 1)


class InceptionResNet(StagedBackbone):
    """The network. At 160 x 160 the last spatial map is 3 x 3; it is averaged.

    Args:
        embedding_size: D.
        width: Multiplies the channels of every branch.
    """

    def __init__(self, embedding_size: int, width: float) -> None:
        super().__init__()
        self.embedding_size = embedding_size

        def c(channels: int) -> int:
            return scaled(channels, width)

        first = c(256)
        second = c(384) + c(256) + first
        third = c(384) + 2 * c(256) + second
        self.feature_channels = third
        self.conv2d_1a = Conv(3, c(32), 3, 2)
        self.conv2d_2a = Conv(c(32), c(32), 3)
        self.conv2d_2b = Conv(c(32), c(64), 3, pad=True)
        self.conv2d_3b = Conv(c(64), c(80), 1)
        self.conv2d_4a = Conv(c(80), c(192), 3)
        self.conv2d_4b = Conv(c(192), first, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35(first, c(32)) for _ in range(5)))
        self.mixed_6a = Reduction(
            [
                _branch(first, [c(384)], [3], 2),
                _branch(first, [c(192), c(192), c(256)], [1, 3, 3], 2),
            ]
        )
        self.repeat_2 = nn.Sequential(*(_split(second, c(128), 7, 0.1) for _ in range(10)))
        self.mixed_7a = Reduction(
            [
                _branch(second, [c(256), c(384)], [1, 3], 2),
                _branch(second, [c(256), c(256)], [1, 3], 2),
                _branch(second, [c(256), c(256), c(256)], [1, 3, 3], 2),
            ]
        )
        self.repeat_3 = nn.Sequential(*(_split(third, c(192), 3, 0.2) for _ in range(5)))
        self.block8 = _split(third, c(192), 3, 1.0, activated=False)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(third, embedding_size, bias=False)
        self.last_bn = nn.BatchNorm1d(embedding_size, eps=EPS)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return maps of sides near S / 9, S / 20 and S / 50 of (B, 3, S, S)."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_3b(F.max_pool2d(x, 3, 2))
        first = self.repeat_1(self.conv2d_4b(self.conv2d_4a(x)))
        second = self.repeat_2(self.mixed_6a(first))
        return [first, second, self.block8(self.repeat_3(self.mixed_7a(second)))]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, C, H, W), any H and W."""
        return self.last_bn(self.last_linear(self.dropout(features.mean((2, 3)))))


def _block35(channels: int, inner: int) -> Residual:
    branches = [
        _branch(channels, [inner], [1]),
        _branch(channels, [inner, inner], [1, 3]),
        _branch(channels, [inner, inner, inner], [1, 3, 3]),
    ]
    return Residual(channels, branches, 3 * inner, 0.17)


def _split(channels: int, inner: int, side: int, scale: float, activated: bool = True) -> Residual:
    """A unit whose square kernel is split into a row and a column."""
    kernels: list[Kernel] = [1, (1, side), (side, 1)]
    branches = [_branch(channels, [inner], [1]), _branch(channels, [inner] * 3, kernels)]
    return Residual(channels, branches, 2 * inner, scale, activated)


@register
def inception_resnet(
    embedding_size: EmbeddingSize = 512, input_size: UnpaddedSize = 160, width: InceptionWidth = 1.0
) -> InceptionResNet:
    """Build `InceptionResNet`: 23.48 M parameters; its weights fit every `input_size`."""
    return InceptionResNet(embedding_size, width)
