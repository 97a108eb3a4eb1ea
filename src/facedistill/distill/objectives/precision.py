"""The precision in which losses are computed."""

from __future__ import annotations

import torch


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor` in float32 where it is half precision; float32 and float64 stay."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
