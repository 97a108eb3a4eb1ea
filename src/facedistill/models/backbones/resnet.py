"""ResNet-50 with every width divided by 1, 2, 4 or 8.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), with the stride in the
3 x 3 convolution. The thin forms are the students of Wang, Lan and Zhang (arXiv 1709.02929), of the
teacher's depth: 23.5, 5.89, 1.48 and 0.374 M parameters before the embedding layer. Parameters are
named as torchvision names them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from facedistill.models.backbones.base import EmbeddingSize, InputSize, StagedBackbone
from facedistill.models.registry import register

EXPANSION = 4


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (strided), 1 x 1, each with batch norm; ReLU after the sum."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = inner * EXPANSION
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(StagedBackbone):
    """ResNet-50: 7 x 7 stem, max pooling, four stages, average pooling, linear embedding.

    The last spatial map has 2048 / width_divisor channels and side S / 32, rounded up.

    Args:
        embedding_size: D.
        width_divisor: Divides the channels of all stages.
    """

    def __init__(self, embedding_size: int, width_divisor: int) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        base = 64 // width_divisor
        self.feature_channels = 8 * base * EXPANSION
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(base, base, blocks=3, stride=1)
        self.layer2 = _stage(base * EXPANSION, 2 * base, blocks=4, stride=2)
        self.layer3 = _stage(2 * base * EXPANSION, 4 * base, blocks=6, stride=2)
        self.layer4 = _stage(4 * base * EXPANSION, 8 * base, blocks=3, stride=2)
        self.fc = nn.Linear(self.feature_channels, embedding_size)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Bottleneck):
                # Blocks begin as the identity (Goyal et al., "Accurate, Large Minibatch SGD",
                # 2017): else the network is too deep to learn landmarks in a short training.
                nn.init.zeros_(module.bn3.weight)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return maps of sides S / 4 to S / 32 of (B, 3, S, S)."""
        first = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        second = self.layer2(first)
        third = self.layer3(second)
        return [first, second, third, self.layer4(third)]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, C, H, W), any H and W."""
        return self.fc(torch.mean(features, dim=(2, 3)))


def _stage(inputs: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    units = [Bottleneck(inputs, inner, stride)]
    units += [Bottleneck(inner * EXPANSION, inner, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(*units)


@register
def resnet50(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    width_divisor: Literal[1, 2, 4, 8] = 1,
) -> ResNet:
    """Build `ResNet`; its weights fit every `input_size`."""
    return ResNet(embedding_size, width_divisor)
