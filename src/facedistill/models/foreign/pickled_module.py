"""The weights of a module that was saved whole, `torch.save(model, ...)`, without its class."""

from __future__ import annotations

from typing import Any

from facedistill.models.foreign.pickle_reading import Opaque
from facedistill.models.foreign.stored_tensor import OddTensor, StoredTensor

_MOST_MODULES = 10_000
_LONGEST_NAME = 1000


def module_weights(module: Opaque) -> dict[str, StoredTensor | OddTensor]:
    """Return what the module's state dict would hold, by name; empty if it is no module.

    Args:
        module: An object that stayed unbuilt, its state as the pickle has it.
    """
    weights: dict[str, StoredTensor | OddTensor] = {}
    waiting: list[tuple[str, Any]] = [("", module)]
    for _ in range(_MOST_MODULES):
        if not waiting:
            break
        prefix, each = waiting.pop()
        state = each.state if isinstance(each, Opaque) else None
        # A name that long is a module within itself.
        if not isinstance(state, dict) or len(prefix) > _LONGEST_NAME:
            continue
        unsaved = state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            for name, value in _named(state.get(kind)):
                skipped = isinstance(unsaved, list) and name in unsaved
                if isinstance(value, StoredTensor | OddTensor) and not skipped:
                    weights[prefix + name] = value
        waiting += [(f"{prefix}{name}.", child) for name, child in _named(state.get("_modules"))]
    return weights


def _named(values: Any) -> list[tuple[str, Any]]:
    if not isinstance(values, dict):
        return []
    return [(key, value) for key, value in values.items() if isinstance(key, str)]
