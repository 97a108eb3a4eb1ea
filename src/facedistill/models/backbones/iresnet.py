"""IResNet 18, 34, 50, 100 and 200 as InsightFace trains them.

The "improved" residual unit of He et al. for faces (Deng et al., "ArcFace", CVPR 2019): batch norm
before each 3 x 3 convolution, PReLU between the two, stride in the second, no activation after the
sum. Parameters are named as in arcface_torch, whose checkpoints load key for key.

A freshly initialised IResNet explodes in eval mode until its batch-norm statistics have seen a few
batches in training mode.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from facedistill.models.backbones.base import EmbeddingSize, InputSize, StagedBackbone, scaled
from facedistill.models.registry import register

STRIDE = 16
"""Sides of input and last spatial map differ by this factor."""


class ResidualUnit(nn.Module):
    """BN, 3 x 3, BN, PReLU, 3 x 3 (strided), BN; projected shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(StagedBackbone):
    """InsightFace's ResNet. The last spatial map, after its batch norm, has side S / 16.

    Args:
        blocks: Residual units of the four stages.
        embedding_size: D.
        input_size: S, a multiple of 16.
        width: Multiplies the channels of all stages.
    """

    def __init__(
        self, blocks: tuple[int, int, int, int], embedding_size: int, input_size: int, width: float
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        stem, *stages = (scaled(channels, width) for channels in (64, 64, 128, 256, 512))
        self.feature_channels = stages[-1]
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.prelu = nn.PReLU(stem)
        self.layer1 = _stage(stem, stages[0], blocks[0])
        self.layer2 = _stage(stages[0], stages[1], blocks[1])
        self.layer3 = _stage(stages[1], stages[2], blocks[2])
        self.layer4 = _stage(stages[2], stages[3], blocks[3])
        self.bn2 = nn.BatchNorm2d(stages[3])
        self.fc = nn.Linear(stages[3] * (input_size // STRIDE) ** 2, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        # The embedding's scale is the classifier's business: its batch norm only centres it.
        self.features.weight.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return maps of sides S / 2 to S / 16 of (B, 3, S, S), the last after its batch norm."""
        first = self.layer1(self.prelu(self.bn1(self.conv1(x))))
        second = self.layer2(first)
        third = self.layer3(second)
        return [first, second, third, self.bn2(self.layer4(third))]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, C, S / 16, S / 16)."""
        return self.features(self.fc(torch.flatten(features, 1)))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    units = [ResidualUnit(inputs, outputs, stride=2)]
    units += [ResidualUnit(outputs, outputs, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(*units)


IResNetWidth = Annotated[float, Field(ge=0.25, le=4)]
"""Below a quarter the stem has 8 channels, and torch 2.13 corrupts memory on a CPU in the backward
pass of the shortcut's 1 x 1 convolution with stride 2 over 8 channels."""

BLOCKS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "iresnet200": (6, 26, 60, 6),
}
"""Residual units of the four stages, by architecture."""


@register
def iresnet18(
    embedding_size: EmbeddingSize = 512, input_size: InputSize = 112, width: IResNetWidth = 1.0
) -> IResNet:
    """Build IResNet-18: 24.03 M parameters at width 1 and 112 x 112."""
    return IResNet(BLOCKS["iresnet18"], embedding_size, input_size, width)


@register
def iresnet34(
    embedding_size: EmbeddingSize = 512, input_size: InputSize = 112, width: IResNetWidth = 1.0
) -> IResNet:
    """Build IResNet-34: 34.14 M parameters at width 1 and 112 x 112."""
    return IResNet(BLOCKS["iresnet34"], embedding_size, input_size, width)


@register
def iresnet50(
    embedding_size: EmbeddingSize = 512, input_size: InputSize = 112, width: IResNetWidth = 1.0
) -> IResNet:
    """Build IResNet-50: 43.59 M parameters at width 1 and 112 x 112."""
    return IResNet(BLOCKS["iresnet50"], embedding_size, input_size, width)


@register
def iresnet100(
    embedding_size: EmbeddingSize = 512, input_size: InputSize = 112, width: IResNetWidth = 1.0
) -> IResNet:
    """Build IResNet-100: 65.16 M parameters at width 1 and 112 x 112."""
    return IResNet(BLOCKS["iresnet100"], embedding_size, input_size, width)


@register
def iresnet200(
    embedding_size: EmbeddingSize = 512, input_size: InputSize = 112, width: IResNetWidth = 1.0
) -> IResNet:
    """Build IResNet-200: 118.83 M parameters at width 1 and 112 x 112."""
    return IResNet(BLOCKS["iresnet200"], embedding_size, input_size, width)
