"""Optimisers, with weight decay only where it belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from facedistill.engine.sampled_rows import step_sampled_rows


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
    factors: Mapping[str, float] | None = None,
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
        factors: By the beginning of parameters' names, a factor of their learning rate, which their
            group carries as `lr_factor`. These parameters come last and are not decayed.
    """
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    last: list[dict[str, Any]] = []
    for beginning, factor in (factors or {}).items():
        own = [named.pop(name) for name in list(named) if name.startswith(beginning)]
        if own:
            rate = {"lr": lr * factor, "lr_factor": factor}
            last.append({"params": own, "weight_decay": 0.0, **rate})
    groups = _groups(named.items(), weight_decay, decay_all) + last
    optimizer: torch.optim.Optimizer
    if kind == "sgd":
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)
    else:
        # One pass over a parameter instead of ten: on a CPU a class head's update is felt.
        optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
    step_sampled_rows(optimizer)
    return optimizer


def _groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float, decay_all: bool
) -> list[dict[str, Any]]:
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for _, parameter in named:
        (decayed if decay_all or parameter.ndim > 1 else spared).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
