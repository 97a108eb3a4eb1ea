"""Where a network is."""

from __future__ import annotations

import torch
from torch import nn


def device_of(network: object) -> torch.device:
    """Return the device of a network's weights; of what has none, an ONNX network say, the CPU."""
    if isinstance(network, nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")
