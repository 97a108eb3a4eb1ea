"""Optimisers, with weight decay only where it belongs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn


def create_optimizer(
    module: nn.Module,
    kind: Literal["sgd", "adamw"],
    lr: float,
    *,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    nesterov: bool = False,
    betas: tuple[float, float] = (0.9, 0.999),
    decay_all: bool = False,
) -> torch.optim.Optimizer:
    """Build an optimiser over a module's trainable parameters.

    Args:
        module: What trains.
        kind: `sgd` or `adamw`.
        lr: Base learning rate.
        weight_decay: Applied to weights of two or more dimensions; biases, norm scales and PReLU
            slopes are spared.
        momentum: Of SGD.
        nesterov: Of SGD.
        betas: Of AdamW.
        decay_all: Decay every parameter, as InsightFace's trainer does.
    """
    groups = _groups(module.named_parameters(), weight_decay, decay_all)
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)
    # One pass over a parameter instead of ten: on a CPU a class head's update is felt otherwise.
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)


def _groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float, decay_all: bool
) -> list[dict[str, Any]]:
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for _, parameter in named:
        if parameter.requires_grad:
            (decayed if decay_all or parameter.ndim > 1 else spared).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
