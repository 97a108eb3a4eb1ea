"""Preprocessing for engines that turn an image into planes for themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facedistill.models.backbones.base import Backbone
from facedistill.runtime.input_spec import InputSpec


class PixelBackbone(Backbone):
    """A backbone that takes an image's planes as they are: float RGB (B, 3, S, S) of 0..255.

    Colour order and normalisation are one 1 x 1 convolution, which every engine has: swapping
    channels is not had everywhere. It cannot be folded into the first convolution, whose padding
    stands for grey and not for black.

    Args:
        backbone: Takes normalised planes in the order of `spec`.
        spec: Its colour order and normalisation.
    """

    def __init__(self, backbone: Backbone, spec: InputSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.embedding_size = backbone.embedding_size
        self.feature_channels = backbone.feature_channels
        self.normalise = _normalisation(spec)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (B, C, H, W) of RGB planes (B, 3, S, S)."""
        return self.backbone.forward_features(self.normalise(x))

    def forward_head(self, features: Tensor) -> Tensor:
        """Return embeddings (B, D), not normalised, of a last spatial map (B, C, H, W)."""
        return self.backbone.forward_head(features)


def _normalisation(spec: InputSpec) -> nn.Conv2d:
    """Return (pixel - mean) / std, the channels in the network's order, as a convolution."""
    source = [0, 1, 2] if spec.color == "RGB" else [2, 1, 0]
    convolution = nn.Conv2d(3, 3, 1).requires_grad_(False)
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    convolution.weight.copy_((torch.eye(3)[source] / std[:, None])[:, :, None, None])
    assert convolution.bias is not None
    convolution.bias.copy_(-mean / std)
    return convolution
