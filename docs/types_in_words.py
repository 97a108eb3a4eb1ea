"""What a value is and what it must be, in words of a recipe's reader."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any

import yaml


def value_text(value: Any) -> str:
    """Return a default as a recipe writes it."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}" if value < 1 else str(value)
    plain = list(value) if isinstance(value, tuple | frozenset) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


_KINDS: dict[Any, str] = {bool: "true, false", int: "whole number", float: "number", str: "text"}


def kind_text(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return what a value must be, in words."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return kind_text(
            inner, [part for each in more for part in getattr(each, "metadata", [each])]
        )
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, UnionType):
        return " or ".join(kind_text(each, metadata) for each in inside if each is not NoneType)
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in inside)
    if origin in (list, tuple):
        return f"list of {kind_text(inside[0])}"
    if origin is dict:
        return "mapping"
    kind = _KINDS.get(annotation) or class_text(annotation)
    return " ".join([kind, range_text(metadata)]).strip()


def class_text(kind: type) -> str:
    """Return the name of a class, with its package where that is another's."""
    place = "" if is_own(kind.__module__) else f"{kind.__module__}."
    return f"`{place}{kind.__name__}`"


def range_text(metadata: Sequence[Any]) -> str:
    """Return the bounds of a number, in words."""
    bounds = {
        key: f"{getattr(each, key):,}".removesuffix(".0")
        for each in metadata
        for key in ("ge", "gt", "le", "lt")
        if hasattr(each, key)
    }
    low = bounds.get("ge") or (f"above {bounds['gt']}" if "gt" in bounds else "")
    high = bounds.get("le") or (f"below {bounds['lt']}" if "lt" in bounds else "")
    if low and high:
        return f"{low} to {high}"
    return f"{low} or more" if "ge" in bounds else low or (f"at most {high}" if high else "")


def is_own(module: str) -> bool:
    """Whether an entry of a registry is the package's, not an installed extension's.

    Args:
        module: Where the entry is defined.
    """
    return module.startswith("facedistill.")
