"""mbf, the network InsightFace calls MobileFaceNet: 2.06 M parameters, 437 M multiply-adds.

It is not the paper's (`mobilefacenet.py`): with scale 2 its stages are twice as wide, while the
expansions of the bottlenecks stay, and the stem's second convolution has 64 groups of `scale`
channels. Parameters are named as in arcface_torch, whose checkpoints load key for key.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from facedistill.models.backbones.base import EmbeddingSize, InputSize, StagedBackbone
from facedistill.models.registry import register

LAST_CHANNELS = 512

Scale = Annotated[int, Field(ge=1, le=16)]
"""Multiplies the channels of an mbf's stages, 64 and 128."""

BlockCount = Annotated[int, Field(ge=1, le=64)]
Blocks = tuple[BlockCount, BlockCount, BlockCount, BlockCount]
"""Bottlenecks of an mbf's four resolutions; a first entry of 1 stands for one grouped 3 x 3."""


class Chain(nn.Module):
    """Modules one after the other, under the name `layers`."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers."""
        return self.layers(x)


class Bottleneck(Chain):
    """Inverted bottleneck: expand, depthwise 3 x 3, project; with a shortcut at stride 1."""

    def __init__(self, inputs: int, outputs: int, expanded: int, stride: int) -> None:
        super().__init__(
            _activated_conv(inputs, expanded, 1),
            _activated_conv(expanded, expanded, 3, stride, groups=expanded),
            _linear_conv(expanded, outputs, 1),
        )
        self.shortcut = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        y = self.layers(x)
        return x + y if self.shortcut else y


class Mbf(StagedBackbone):
    """InsightFace's MobileFaceNet. The last spatial map has 512 channels and side S / 16.

    Args:
        embedding_size: D.
        input_size: S, a multiple of 16; the global depthwise convolution has side S / 16.
        scale: Channels of the stages are 64 and 128 times this.
        blocks: Bottlenecks of the four resolutions; a first entry of 1 is one grouped 3 x 3.
    """

    feature_channels = LAST_CHANNELS

    def __init__(
        self, embedding_size: int, input_size: int, scale: int, blocks: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        narrow, wide = 64 * scale, 128 * scale
        second = (
            _activated_conv(narrow, narrow, 3, groups=64)
            if blocks[0] == 1
            else _stage(narrow, 128, blocks[0])
        )
        self.layers = nn.ModuleList(
            [
                _activated_conv(3, narrow, 3, stride=2),
                second,
                Bottleneck(narrow, narrow, expanded=128, stride=2),
                _stage(narrow, 128, blocks[1]),
                Bottleneck(narrow, wide, expanded=256, stride=2),
                _stage(wide, 256, blocks[2]),
                Bottleneck(wide, wide, expanded=512, stride=2),
                _stage(wide, 256, blocks[3]),
            ]
        )
        self.conv_sep = _activated_conv(wide, LAST_CHANNELS, 1)
        self.features = Chain(
            _linear_conv(
                LAST_CHANNELS, LAST_CHANNELS, input_size // 16, groups=LAST_CHANNELS, pad=0
            ),
            nn.Flatten(),
            nn.Linear(LAST_CHANNELS, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return maps of sides S / 4, S / 8 and S / 16 of (B, 3, S, S), the last (B, 512, ...)."""
        maps = []
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place in (3, 5):
                maps.append(x)
        return [*maps, self.conv_sep(x)]

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, 512, S / 16, S / 16)."""
        return self.features(features)


def _linear_conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, pad: int | None = None
) -> Chain:
    pad = kernel // 2 if pad is None else pad
    return Chain(
        nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


def _activated_conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> Chain:
    chain = _linear_conv(inputs, outputs, kernel, stride, groups)
    chain.layers.append(nn.PReLU(outputs))
    return chain


def _stage(channels: int, expanded: int, blocks: int) -> Chain:
    return Chain(*(Bottleneck(channels, channels, expanded, stride=1) for _ in range(blocks)))


@register
def mbf(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    scale: Scale = 2,
    blocks: Blocks = (1, 4, 6, 2),
) -> Mbf:
    """Build `Mbf` as arcface_torch's `mbf`: 2.06 M parameters at 112 x 112."""
    return Mbf(embedding_size, input_size, scale, blocks)


@register
def mbf_large(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    scale: Scale = 4,
    blocks: Blocks = (2, 8, 12, 4),
) -> Mbf:
    """Build `Mbf` as arcface_torch's `mbf_large`."""
    return Mbf(embedding_size, input_size, scale, blocks)
