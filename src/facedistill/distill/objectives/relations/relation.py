"""Mutual relations: cosines between embeddings, and what a difference of two of them costs."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from facedistill.distill.objectives.precision import at_least_float32

_ON_CPU, _ON_DEVICE = 1 << 18, 1 << 27
"""Most numbers gathered at once: on a CPU about what its cache holds."""


def unit(embedding: torch.Tensor) -> torch.Tensor:
    """Return (B, D) rows of length 1, in float32 or float64."""
    return F.normalize(at_least_float32(embedding), dim=1)


def relations(units: torch.Tensor, rows: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return R(units_i, rows_{indices_ik}): the cosine of each embedding with K rows of a memory.

    Only the rows asked for are read, a few samples at a time, so that B x K x D numbers never
    exist together; the product with all M rows would cost M/K times as much.

    Args:
        units: (B, D) of length 1; gradients flow into it.
        rows: (M, D) of length 1, of any floating type; arithmetic is in that of `units`.
        indices: int64 (B, K).

    Returns:
        (B, K), of the type of `units`.
    """
    return _Relations.apply(units, rows, indices)


class _Relations(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, units: torch.Tensor, rows: torch.Tensor, indices: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, indices)
        result = units.new_empty(indices.shape)
        for part in _parts(rows, indices):
            near = _gathered(rows, indices[part], units.dtype)
            result[part] = near.mul_(units[part, None]).sum(2)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        rows, indices = ctx.saved_tensors
        result = gradient.new_empty(len(indices), rows.shape[1])
        for part in _parts(rows, indices):
            near = _gathered(rows, indices[part], gradient.dtype)
            torch.bmm(gradient[part, None], near, out=result[part, None])
        return result, None, None


def _parts(rows: torch.Tensor, indices: torch.Tensor) -> list[slice]:
    most = _ON_CPU if rows.device.type == "cpu" else _ON_DEVICE
    step = max(1, most // max(1, indices.shape[1] * rows.shape[1]))
    return [slice(start, start + step) for start in range(0, len(indices), step)]


def _gathered(rows: torch.Tensor, indices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    near = rows.index_select(0, indices.flatten()).to(dtype)
    return near.view(*indices.shape, rows.shape[1])


def penalty(
    difference: torch.Tensor, q: float, two_sided: bool = False, squared: bool = False
) -> torch.Tensor:
    """Return what each difference of relations, student's minus teacher's, costs.

    Args:
        difference: Any shape.
        q: Margin that is free.
        two_sided: Charge max(|difference| - q, 0) instead of max(difference - q, 0).
        squared: Square it.
    """
    size = difference.abs() if two_sided else difference
    cost = (size - q).clamp_min(0)
    return cost.square() if squared else cost


def check_penalty(q: float, two_sided: bool) -> None:
    """Refuse a margin that makes no sense.

    Raises:
        ValueError: If q is not in -2..2, or is negative where both sides are charged.
    """
    if not -2 <= q <= 2:
        raise ValueError(f"q is {q}, a difference of cosines is in -2..2")
    if two_sided and q < 0:
        raise ValueError(f"q is {q} and two_sided charges every difference: q must be 0 or more")
