"""Rows of all processes, for losses whose value depends on the whole batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed


def gathered(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the rows of all processes for each tensor, in the order of the processes.

    A loss that is computed from them is the same in every process, and so is the loss of one
    process that has the whole batch. Gradients flow into this process's own rows, times the number
    of processes: DistributedDataParallel takes the mean over the processes, of which each has only
    its share. With one process, or none started, the tensors come back as they are.

    Every process must call it alike; they may have different numbers of rows.

    Args:
        *tensors: (B, ...) each, B the same for all of them.
    """
    if not several_processes():
        return tensors
    counts = _row_counts(tensors[0])
    return tuple(_Gathered.apply(tensor, counts) for tensor in tensors)


def gathered_for_parts(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, for a loss of which each process computes a part.

    Gradients flow into this process's own rows from the parts of all processes, times the number of
    processes, as in `gathered`. Every process must call it alike, and go backward alike.

    Args:
        rows: (B, ...); B may differ.
    """
    if not several_processes():
        return rows
    whole: torch.Tensor = _GatheredForParts.apply(rows, _row_counts(rows))
    return whole


def sum_of_parts(part: torch.Tensor) -> torch.Tensor:
    """Return the sum over the processes of what each computes a part of.

    The gradient of each process's part is that of the sum: the loss made of it is the same in every
    process and counts once. Every process must call it alike, with a tensor of one shape.
    """
    if not several_processes():
        return part
    whole: torch.Tensor = _SumOfParts.apply(part)
    return whole


@torch.no_grad()
def largest_of_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the element-wise largest over the processes, without gradient.

    Every process must call it alike, with a tensor of one shape.
    """
    if several_processes():
        tensor = tensor.detach().clone()
        distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return tensor


def agreed(tensor: torch.Tensor) -> torch.Tensor:
    """Return the first process's tensor, what all of them have drawn at random, say.

    Every process must call it alike, with a tensor of one shape.
    """
    if several_processes():
        tensor = tensor.clone()
        distributed.broadcast(tensor, src=0)
    return tensor


@torch.no_grad()
def mean_of_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the mean over the processes, without gradient.

    A sum that is divided by the mean of all processes' counts has the gradient of the whole batch,
    since DistributedDataParallel takes the mean over the processes.

    Every process must call it alike, with a tensor of one shape.
    """
    if several_processes():
        tensor = tensor.detach().clone()
        distributed.all_reduce(tensor)
        tensor /= distributed.get_world_size()
    return tensor


def several_processes() -> bool:
    """Whether this run has more than one process."""
    started = distributed.is_available() and distributed.is_initialized()
    return started and distributed.get_world_size() > 1


def _row_counts(rows: torch.Tensor) -> list[int]:
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(count) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, count)
    return [int(each) for each in counts]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
        ctx.counts, ctx.rank = counts, distributed.get_rank()
        # A process has fewer rows than another where it left out corrupt images.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        shares = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(shares, padded)
        return torch.cat([share[:count] for share, count in zip(shares, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        own = gradient.split(ctx.counts)[ctx.rank]
        return own * len(ctx.counts), None


class _GatheredForParts(_Gathered):
    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        whole = gradient.contiguous().clone()
        distributed.all_reduce(whole)
        return whole.split(ctx.counts)[ctx.rank] * len(ctx.counts), None


class _SumOfParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: torch.Tensor) -> torch.Tensor:
        whole = part.contiguous().clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient
