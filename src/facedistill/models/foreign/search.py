"""Finding a network's weights in what a checkpoint holds, wherever they are in it.

Trainers nest state dicts under names of their own and put prefixes before the weights' names;
beside them stand class heads, optimisers, settings, a teacher, averaged copies. A network is found
by the mark of its layout: whatever stands before the mark is the prefix.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facedistill.core.errors import FacedistillError, naming
from facedistill.models.foreign.layout import LAYOUTS, Layout, Recognised, Stored
from facedistill.models.foreign.pickle_reading import Opaque
from facedistill.models.foreign.pickled_module import module_weights
from facedistill.models.foreign.stored_tensor import OddTensor, StoredTensor

_DEEPEST = 6
_MOST_MAPPINGS = 10_000
_LONGEST_NAME = 80
_AVERAGED = re.compile(r"(^|[^a-z])(ema|averaged?|swa)([^a-z]|$)")
_NOTHING = (LookupError, ValueError, ZeroDivisionError, TypeError, StopIteration)


@dataclass(frozen=True)
class Found:
    """A network in a checkpoint.

    Attributes:
        place: Where its weights are, `state_dict.module.`; empty where they are all there is.
        layout: How they are named.
        recognised: What network it is.
        weights: By name, without what the place has before them.
        odd: The kinds of tensors among them that cannot be read, by name.
    """

    place: str
    layout: Layout
    recognised: Recognised
    weights: Stored
    odd: dict[str, str] = field(default_factory=dict)


def find_network(content: Any, path: Path) -> Found:
    """Return the network that a checkpoint holds.

    Args:
        content: As `open_contents` yields it.
        path: The checkpoint, for messages.

    Raises:
        FacedistillError: If it holds none that is known, or several of which none is meant more
            than another.
    """
    with naming(str(path)):
        found = [
            each for place, mapping in _mappings(content) for each in _networks(place, mapping)
        ]
    averaged = [each for each in found if _AVERAGED.search(each.place.lower())]
    if len(found) > 1 and len(averaged) == 1:
        warnings.warn(
            f"{path} holds {len(found)} networks: the averaged weights (EMA) are taken, under "
            f"{shown(averaged[0].place.rstrip('.'))}",
            stacklevel=3,
        )
        found = averaged
    if len(found) > 1:
        places = ", ".join(shown(each.place.rstrip(".") or "its own") for each in found[:5])
        raise FacedistillError(
            f"{path} holds {len(found)} networks ({places}): save the state dict of the one that "
            "is meant alone"
        )
    if not found:
        raise FacedistillError(f"{path} {_what_instead(content)}")
    return found[0]


def _networks(place: str, mapping: Mapping[Any, Any]) -> Iterator[Found]:
    """Yield every network among the tensors of one mapping."""
    stored = _of_kind(mapping, StoredTensor)
    if not stored:
        return
    for _, kind in LAYOUTS.items():
        layout = kind()
        for prefix in _prefixes(stored, layout.mark):
            weights = _under(stored, prefix)
            shapes = {key: tensor.shape for key, tensor in weights.items()}
            try:
                recognised = layout.recognise(shapes, place + prefix)
            except _NOTHING:
                continue
            if recognised is not None:
                odd = {
                    key: tensor.kind
                    for key, tensor in _under(_of_kind(mapping, OddTensor), prefix).items()
                }
                yield Found(place + prefix, layout, recognised, weights, odd)


def _prefixes(stored: Stored, mark: str) -> list[str]:
    starts = {key.removesuffix(mark) for key in stored if key.endswith(mark)}
    return sorted(start for start in starts if not start or start.endswith("."))


def _under(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)
    }


def _of_kind(mapping: Mapping[Any, Any], kind: type) -> dict[str, Any]:
    return {
        key: value
        for key, value in mapping.items()
        if isinstance(key, str) and isinstance(value, kind)
    }


def _mappings(content: Any) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield every mapping in a checkpoint once, the outer ones first, and where it is."""
    level: list[tuple[str, Any]] = [("", content)]
    seen: set[int] = set()
    for _ in range(_DEEPEST):
        inner: list[tuple[str, Any]] = []
        for place, value in level:
            mapping = value
            if isinstance(value, Opaque):
                mapping = module_weights(value) or value.items
            if not isinstance(mapping, dict) or id(mapping) in seen or len(seen) >= _MOST_MAPPINGS:
                continue
            seen.add(id(mapping))
            yield place, mapping
            inner += [
                (f"{place}{key}.", value)
                for key, value in mapping.items()
                if isinstance(key, str) and isinstance(value, dict | Opaque)
            ]
        level = inner


def _what_instead(content: Any) -> str:
    """Say what a checkpoint without a known network holds."""
    known = f"known families are {', '.join(LAYOUTS.names())}; an ONNX export of any other opens"
    for place, mapping in _mappings(content):
        for name, tensor in _of_kind(mapping, OddTensor).items():
            return f"has a tensor that is {tensor.kind}: {shown(place + name)}; save plain tensors"
    place, weights = max(
        ((place, _of_kind(mapping, StoredTensor)) for place, mapping in _mappings(content)),
        key=lambda each: len(each[1]),
        default=("", {}),
    )
    if weights:
        where = f" in {shown(place.rstrip('.'))}" if place else ""
        return (
            f"is of no known family: its {len(weights)} weights{where} are {some(weights)}; {known}"
        )
    inside = list(content.items()) if isinstance(content, dict) else []
    listed = ", ".join(f"{shown(str(key))} ({_kind(value)})" for key, value in inside[:6])
    if any(isinstance(each, Opaque) for each in (content, *(value for _, value in inside))):
        return (
            f"holds no state dict, only {listed or _kind(content)}; pickled code is never run: "
            "save its state dict alone, torch.save(model.state_dict(), ...)"
        )
    return f"holds no state dict, only {listed or _kind(content)}; {known}"


def _kind(value: Any) -> str:
    if isinstance(value, Opaque):
        return shown(value.path)
    return "a tensor" if isinstance(value, StoredTensor) else type(value).__name__


def shown(name: str) -> str:
    """Return a name, shortened where it is too long to print."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def some(names: Any, most: int = 3) -> str:
    """Return the first of some names."""
    ordered = sorted(names)
    return ", ".join(map(shown, ordered[:most])) + (", ..." if len(ordered) > most else "")
