"""IR and IR-SE: the residual networks of AdaFace, TFace, CVLface and FaceX-Zoo.

They have the "improved" residual unit of Deng et al., "ArcFace", CVPR 2019 (arXiv 1801.07698), as
`iresnet.py` has, but a shortcut of equal width is left as it is, taking every other place where the
unit halves its map; deep ones have units of three convolutions (He et al., CVPR 2016); units may
weigh their channels (Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018). Parameters are named
as in those trainers' checkpoints, which load key for key.
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

NARROWING = 4
"""Outputs of a unit of three convolutions, by the channels of its 3 x 3 one."""

REDUCTION = 16
"""Channels of a unit, by those of its squeezed description."""

IrWidth = Annotated[float, Field(ge=0.25, le=4)]
"""Multiplies the channels of an IR's stages; the squeezed description needs 16 of them."""

UnitCount = Annotated[int, Field(ge=1, le=128)]
Units = tuple[UnitCount, UnitCount, UnitCount, UnitCount]
"""Residual units of the four stages: 2, 2, 2, 2 in IR-18; 3, 4, 6, 3 in IR-34; 3, 4, 14, 3 in
IR-50; 3, 13, 30, 3 in IR-101; 3, 8, 36, 3 in IR-152; 3, 24, 36, 3 in IR-200."""


class SqueezeExcitation(nn.Module):
    """Weigh each channel by what the means of all say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.fc1 = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.fc2 = nn.Conv2d(squeezed, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        weight = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(weight)


class Unit(nn.Module):
    """A residual unit: convolutions after a batch norm, beside a shortcut.

    Args:
        inputs: C.
        outputs: C'.
        stride: Of the last convolution.
        bottleneck: Three convolutions, 1 x 1, 3 x 3 and 1 x 1, instead of two of 3 x 3.
        squeeze: Whether channels are weighed.
        inner_norm: Whether a batch norm stands between first convolution and activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        bottleneck: bool,
        squeeze: bool,
        inner_norm: bool,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut_layer: nn.Module | None = None
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        inner = outputs // NARROWING if bottleneck else outputs
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = [inputs, *[inner] * (len(kernels) - 1), outputs]
        layers: list[nn.Module] = [nn.BatchNorm2d(inputs)]
        for place, kernel in enumerate(kernels):
            last = place == len(kernels) - 1
            step = stride if last else 1
            layers.append(
                nn.Conv2d(widths[place], widths[place + 1], kernel, step, kernel // 2, bias=False)
            )
            if last or inner_norm:
                layers.append(nn.BatchNorm2d(widths[place + 1]))
            if not last:
                layers.append(nn.PReLU(inner))
        self.res_layer = nn.Sequential(*layers)
        if squeeze:
            self.res_layer.add_module("se_block", SqueezeExcitation(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        if self.shortcut_layer is not None:
            return self.res_layer(x) + self.shortcut_layer(x)
        return self.res_layer(x) + x[:, :, :: self.stride, :: self.stride]


class Ir(StagedBackbone):
    """The network. The last spatial map, after its batch norm, has side S / 16.

    Args:
        embedding_size: D.
        input_size: S, a multiple of 16.
        units: Of the four stages.
        width: Multiplies the channels of all stages.
        bottleneck: Units of three convolutions, and four times as many channels between them.
        squeeze: Whether units weigh their channels, as IR-SE does.
        inner_norm: Whether units have a batch norm after their first convolution, as all but
            FaceX-Zoo's have.
    """

    def __init__(
        self,
        embedding_size: int,
        input_size: int,
        units: tuple[int, int, int, int],
        width: float,
        bottleneck: bool,
        squeeze: bool,
        inner_norm: bool,
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        stem, *stages = (scaled(channels, width) for channels in (64, 64, 128, 256, 512))
        if bottleneck:
            stages = [NARROWING * channels for channels in stages]
        self.feature_channels = stages[-1]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem)
        )
        self.body = nn.Sequential()
        self.stage_ends = []
        inputs = stem
        for count, outputs in zip(units, stages, strict=True):
            for place in range(count):
                self.body.append(
                    Unit(
                        inputs,
                        outputs,
                        stride=1 if place else 2,
                        bottleneck=bottleneck,
                        squeeze=squeeze,
                        inner_norm=inner_norm,
                    )
                )
                inputs = outputs
            self.stage_ends.append(len(self.body))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(inputs * (input_size // STRIDE) ** 2, embedding_size),
            nn.BatchNorm1d(embedding_size),
        )
        # The embedding's scale is the classifier's business: its batch norm only centres it.
        self.output_layer[4].weight.requires_grad = False
        self.output_layer[4].bias.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return maps of sides S / 2 to S / 16 of (B, 3, S, S), the last after its batch norm."""
        x = self.input_layer(x)
        maps = []
        for place, unit in enumerate(self.body, start=1):
            x = unit(x)
            if place in self.stage_ends:
                maps.append(x)
        maps[-1] = self.output_layer[0](x)
        return maps

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, C, S / 16, S / 16)."""
        return self.output_layer[1:](features)


@register
def ir(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    units: Units = (3, 4, 14, 3),
    width: IrWidth = 1.0,
    bottleneck: bool = False,
    squeeze: bool = False,
    inner_norm: bool = True,
) -> Ir:
    """Build `Ir`: IR-50, 43.59 M parameters, by default."""
    return Ir(embedding_size, input_size, units, width, bottleneck, squeeze, inner_norm)
