"""Which keys a recipe knows at a place, and what is wrong with one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from facedistill.core.suggestion import did_you_mean


def first_problem(error: ValidationError, root: type[BaseModel]) -> str:
    """Put pydantic's first complaint about a `root` in one line; name the nearest known key."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = list(_annotations(_section_at(root, place[:-1])))
        return f"unknown key '{'.'.join(place)}': {did_you_mean(place[-1], known)}{more}"
    if first["type"] == "missing":
        return f"key '{'.'.join(place)}' is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    problem = f"{message[0].lower()}{message[1:]}{more}"
    return f"{'.'.join(place)}: {problem}" if place else problem


def kinds_at(root: type[BaseModel], place: Sequence[str]) -> tuple[Any, ...]:
    """Return the types that the key at a place takes; empty where no such key is known."""
    *parents, leaf = place
    section = _section_at(root, parents)
    if get_origin(section) is dict:  # `leaf` is the user's own name
        return (get_args(section)[1],)
    annotation = _annotations(section).get(leaf)
    if annotation is None or annotation is Any:
        return ()
    options = get_args(annotation) if type(None) in get_args(annotation) else (annotation,)
    return tuple(get_args(o)[0] if hasattr(o, "__metadata__") else o for o in options)


def _section_at(root: Any, place: Sequence[str]) -> Any:
    """Return the section that is at a place, or `dict[...]` where the user names its keys."""
    section: Any = root
    for part in place:
        if get_origin(section) is dict:
            section = get_args(section)[1]
            continue
        annotation = _annotations(section).get(part)
        options = [annotation, *get_args(annotation)]
        section = next((o for o in options if get_origin(o) is dict or _annotations(o)), None)
    return section


def _annotations(section: Any) -> dict[str, Any]:
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {name: field.annotation for name, field in section.model_fields.items()}
    if dataclasses.is_dataclass(section):
        return {field.name: field.type for field in dataclasses.fields(section)}
    return {}
