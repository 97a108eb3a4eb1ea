"""PReLU as a maximum: the same numbers, where an engine is slow at PReLU itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ScaledMaximum(nn.Module):
    """PReLU with slopes a of at most 1: max(x, a x).

    Args:
        slopes: (C,), or (1,) for one slope of all channels.
    """

    slopes: Tensor

    def __init__(self, slopes: Tensor) -> None:
        super().__init__()
        self.register_buffer("slopes", slopes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, ...) to the same shape."""
        slopes = self.slopes.view(1, -1, *[1] * (x.ndim - 2))
        return torch.maximum(x, slopes * x)


def replace_prelus(module: nn.Module) -> None:
    """Put a `ScaledMaximum` in the place of every PReLU that it is equal to, in place."""
    for name, part in module.named_children():
        if isinstance(part, nn.PReLU) and bool((part.weight <= 1).all()):
            setattr(module, name, ScaledMaximum(part.weight.detach()))
        else:
            replace_prelus(part)
