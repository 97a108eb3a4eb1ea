"""Class weights of which each process holds a part: what the loop and its files do about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.classification.sharded_head import ShardedHead
from facedistill.distill.objectives.gathering import sum_of_parts


def sharded_heads(module: nn.Module) -> dict[str, ShardedHead]:
    """Return heads whose classes are divided, by the name of their weight in `state_dict`."""
    named = module.named_modules()
    return {f"{name}.head.weight": each for name, each in named if isinstance(each, ShardedHead)}


def leave_shards_alone(module: nn.Module, accelerator: Accelerator) -> None:
    """Have DistributedDataParallel neither spread nor average what each process has for itself.

    Args:
        module: Before it is wrapped.
        accelerator: Of the run.

    Raises:
        FacedistillError: If the loss is scaled for fp16, each process by what it finds itself.
    """
    names = list(sharded_heads(module))
    if not names:
        return
    if accelerator.scaler is not None:
        raise FacedistillError(
            "a sharded class head does not train in fp16: set training.precision to bf16 or fp32"
        )
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def clip_gradient(accelerator: Accelerator, module: nn.Module, largest: float) -> torch.Tensor:
    """Scale gradients down to a norm, which counts the shards of all processes.

    Args:
        accelerator: Of the run.
        module: What trains, not wrapped.
        largest: Norm that is left as it is.

    Returns:
        The norm before.
    """
    shards = [head.head.weight for head in sharded_heads(module).values()]
    shards = [weight for weight in shards if weight.grad is not None]
    if not shards:
        norm = accelerator.clip_grad_norm_(module.parameters(), largest)
        assert norm is not None
        return norm
    for weight in shards:
        assert weight.grad is not None
        if weight.grad.is_sparse:
            weight.grad = weight.grad.coalesce()
    own = {id(weight) for weight in shards}
    alike = [p.grad for p in module.parameters() if p.grad is not None and id(p) not in own]
    here = torch.stack([_values(weight).square().sum() for weight in shards]).sum()
    norm = (get_total_norm(alike).square() + sum_of_parts(here)).sqrt()
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    for gradient in [*alike, *map(_values, shards)]:
        gradient.mul_(factor.to(gradient.dtype))
    return norm


@contextmanager
def whole_heads(module: nn.Module) -> Iterator[None]:
    """Have the first process hold all classes, to write them down; all must enter alike."""
    with ExitStack() as stack:
        for head in sharded_heads(module).values():
            stack.enter_context(head.held_whole())
        yield


def whole_states(
    module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the states of module and optimiser, in the first process with all processes' classes.

    Every process must call it alike.
    """
    weights, states = module.state_dict(), optimizer.state_dict()
    _convert(module, optimizer, weights, states, ShardedHead.together)
    return weights, states


def own_states(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    weights: Mapping[str, Any],
    states: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `whole_states` gave with this process's share of the classes.

    Raises:
        ValueError: If it is of another number of classes.
        KeyError: If it has no such head.
    """
    weights, states = dict(weights), {**states, "state": dict(states["state"])}
    _convert(module, optimizer, weights, states, ShardedHead.share_of)
    return weights, states


def _convert(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    weights: dict[str, Any],
    states: dict[str, Any],
    convert: Callable[[ShardedHead, torch.Tensor], torch.Tensor],
) -> None:
    """Convert, in place, the weights of sharded heads and what the optimiser keeps of each row."""
    for name, head in sharded_heads(module).items():
        shape = weights[name].shape
        weights[name] = convert(head, weights[name])
        for number, state in _states_of(head, optimizer, states).items():
            states["state"][number] = {
                key: convert(head, value) if _has_shape(value, shape) else value
                for key, value in state.items()
            }


def _states_of(
    head: ShardedHead, optimizer: torch.optim.Optimizer, states: Mapping[str, Any]
) -> dict[int, dict[str, Any]]:
    """Return, by its number in the optimiser's state, what there is of a head's weight."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    numbers = [number for number, each in enumerate(parameters) if each is head.head.weight]
    return {number: states["state"][number] for number in numbers if number in states["state"]}


def _has_shape(value: Any, shape: torch.Size) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == shape


def _values(weight: nn.Parameter) -> torch.Tensor:
    assert weight.grad is not None
    return weight.grad.values() if weight.grad.is_sparse else weight.grad
