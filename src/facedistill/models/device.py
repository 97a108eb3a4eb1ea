"""Where a network is, and where to compute."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def device_of(network: object) -> torch.device:
    """Return the device of a network's weights; of what has none, an ONNX network say, the CPU."""
    if isinstance(network, nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")


def best_device() -> torch.device:
    """Return the accelerator that torch finds, or the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else found


def device_for(numbers: np.dtype, device: torch.device | str) -> torch.device:
    """Return the device, or the CPU where it has no such numbers: Metal knows no float64."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" and numbers == np.float64 else device
