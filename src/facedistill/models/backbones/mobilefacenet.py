"""MobileFaceNet as its paper has it: 1.20 M parameters, 221 M multiply-adds at 112 x 112.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices", CCBR 2018 (arXiv 1804.07573). InsightFace's network of the same name is another one: see
`mbf.py`. The parameters are named as in the public PyTorch checkpoints of the conv1 / conv2_dw /
conv_23 family, which load key for key.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facedistill.models.backbones.base import (
    EmbeddingSize,
    InputSize,
    StagedBackbone,
    Width,
    scaled,
)
from facedistill.models.registry import register

LAST_CHANNELS = 512
"""Channels of the last 1 x 1 convolution at every width."""


class LinearConv(nn.Module):
    """Convolution and batch norm without activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        return self.bn(self.conv(x))


class ActivatedConv(LinearConv):
    """Convolution, batch norm and PReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, pad, groups)
        self.prelu = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        return self.prelu(super().forward(x))


class Bottleneck(nn.Module):
    """Inverted bottleneck: expand, depthwise 3 x 3, project; with a shortcut at stride 1."""

    def __init__(self, inputs: int, outputs: int, expanded: int, stride: int) -> None:
        super().__init__()
        self.conv = ActivatedConv(inputs, expanded, 1)
        self.conv_dw = ActivatedConv(expanded, expanded, 3, stride, 1, groups=expanded)
        self.project = LinearConv(expanded, outputs, 1)
        self.shortcut = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.shortcut else y


class Stage(nn.Module):
    """A chain of bottlenecks at one resolution."""

    def __init__(self, channels: int, expanded: int, blocks: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *(Bottleneck(channels, channels, expanded, stride=1) for _ in range(blocks))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return self.model(x)


class MobileFaceNet(StagedBackbone):
    """The paper's network. The last spatial map has 512 channels and side S / 16.

    Args:
        embedding_size: D.
        input_size: S, a multiple of 16; the global depthwise convolution has side S / 16.
        width: Multiplies the channels of every stage but the last 1 x 1 convolution, which keeps
            its 512: thin networks owe most of their accuracy to that layer.
    """

    feature_channels = LAST_CHANNELS

    def __init__(self, embedding_size: int, input_size: int, width: float) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        c64, c128, c256, c512 = (scaled(channels, width) for channels in (64, 128, 256, 512))
        self.conv1 = ActivatedConv(3, c64, 3, stride=2, pad=1)
        self.conv2_dw = ActivatedConv(c64, c64, 3, pad=1, groups=c64)
        self.conv_23 = Bottleneck(c64, c64, expanded=c128, stride=2)
        self.conv_3 = Stage(c64, expanded=c128, blocks=4)
        self.conv_34 = Bottleneck(c64, c128, expanded=c256, stride=2)
        self.conv_4 = Stage(c128, expanded=c256, blocks=6)
        self.conv_45 = Bottleneck(c128, c128, expanded=c512, stride=2)
        self.conv_5 = Stage(c128, expanded=c256, blocks=2)
        self.conv_6_sep = ActivatedConv(c128, LAST_CHANNELS, 1)
        self.conv_6_dw = LinearConv(
            LAST_CHANNELS, LAST_CHANNELS, input_size // 16, groups=LAST_CHANNELS
        )
        self.linear = nn.Linear(LAST_CHANNELS, embedding_size, bias=False)
        self.bn = nn.BatchNorm1d(embedding_size)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return maps of sides S / 4, S / 8 and S / 16 of (B, 3, S, S), the last (B, 512, ...)."""
        x = self.conv2_dw(self.conv1(x))
        fourth = self.conv_3(self.conv_23(x))
        eighth = self.conv_4(self.conv_34(fourth))
        x = self.conv_5(self.conv_45(eighth))
        return [fourth, eighth, self.conv_6_sep(x)]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, 512, S / 16, S / 16)."""
        pooled = torch.flatten(self.conv_6_dw(features), 1)
        return self.bn(self.linear(pooled))


@register
def mobilefacenet(
    embedding_size: EmbeddingSize = 512, input_size: InputSize = 112, width: Width = 1.0
) -> MobileFaceNet:
    """Build `MobileFaceNet`: 1.20 M parameters at width 1 and 112 x 112."""
    return MobileFaceNet(embedding_size, input_size, width)
