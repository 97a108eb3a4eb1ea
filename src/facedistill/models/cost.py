"""What a network costs: parameters and multiply-adds."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from facedistill.models.backbones.base import Backbone


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters, frozen ones included and buffers not."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(backbone: Backbone, size: int) -> int:
    """Return the multiply-adds of one image's forward pass.

    Convolutions and matrix products are counted, half the floating-point operations that PyTorch's
    own counter gives; normalisation and activations are not, as is the custom.

    Args:
        backbone: The network; it is neither run nor changed.
        size: Side of the square input in pixels.
    """
    # Fake weights and images have shapes but no values: even IResNet-100 is counted at once.
    shapes = copy.deepcopy(backbone).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shapes(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2
