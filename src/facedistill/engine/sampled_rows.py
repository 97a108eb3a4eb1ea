"""Optimiser steps of the rows that a step has sampled, and of no others."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn


class _Whole(NamedTuple):
    """What stands aside while an optimiser steps some rows of a parameter."""

    rows: torch.Tensor
    data: torch.Tensor
    state: dict[str, torch.Tensor]


def step_sampled_rows(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser step a parameter whose gradient is sparse by the gradient's rows alone.

    For the length of a step the parameter, and what the optimiser remembers of it (momentum,
    moments), are these rows, which are then written back. Other rows, their momentum and their
    decay rest; what the optimiser counts, AdamW's steps, it counts for all rows together.

    Args:
        optimizer: Any whose state of a parameter is numbers, and tensors of the parameter's shape.
    """
    aside: dict[nn.Parameter, _Whole] = {}

    def take_rows(_: Any, *__: Any) -> None:
        for parameter in (each for group in optimizer.param_groups for each in group["params"]):
            if parameter.grad is None or not parameter.grad.is_sparse:
                continue
            gradient, state = parameter.grad.coalesce(), optimizer.state[parameter]
            rows = gradient.indices()[0]
            whole = {name: value for name, value in state.items() if _is_like(value, parameter)}
            aside[parameter] = _Whole(rows, parameter.data, whole)
            parameter.grad = None
            parameter.data = parameter.data[rows]
            parameter.grad = gradient.values()
            state.update({name: value[rows] for name, value in whole.items()})

    def put_back(_: Any, *__: Any) -> None:
        for parameter, (rows, data, whole) in aside.items():
            state = optimizer.state[parameter]
            for name, value in state.items():
                if _is_like(value, parameter):
                    if name not in whole:
                        whole[name] = torch.zeros_like(data)
                    whole[name][rows] = value
            state.update(whole)
            data[rows] = parameter.data
            parameter.grad = None
            parameter.data = data
        aside.clear()

    optimizer.register_step_pre_hook(take_rows)
    optimizer.register_step_post_hook(put_back)


def _is_like(value: Any, parameter: nn.Parameter) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == parameter.shape
