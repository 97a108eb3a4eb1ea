"""Which keys a recipe knows at a place, and what is wrong with one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from facedistill.core.suggestion import did_you_mean

_LONGEST_VALUE = 60
_VERY_CLOSE = 0.8
"""Likeness of two words of which one is the other mistyped."""


def first_problem(error: ValidationError, root: type[BaseModel]) -> str:
    """Put pydantic's first complaint about a `root` in one line; name the nearest known key."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key '{'.'.join(place)}': {_key_meant(root, place)}{more}"
    if first["type"] == "missing":
        return f"key '{'.'.join(place)}' is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "value_error" else f", not {_shown(first['input'])}"
    problem = f"{message[0].lower()}{message[1:]}{given}{more}"
    return f"{'.'.join(place)}: {problem}" if place else problem


def _shown(value: Any) -> str:
    """Return a value as it may have been typed, shortened where it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _key_meant(root: type[BaseModel], place: list[str]) -> str:
    """Return what an unknown key may stand for: one beside it, or the same word elsewhere."""
    *above, word = place
    known = list(_annotations(_section_at(root, above)))
    beside = did_you_mean(word, known)
    if not get_close_matches(word, known, cutoff=_VERY_CLOSE) and (
        elsewhere := paths_of(root, word)
    ):
        return f"did you mean '{elsewhere[0]}'?"
    if "arguments" in known and not beside.startswith("did you mean"):
        own = ".".join([*above, "arguments", word])
        return f"if it is an argument of the network, give '{own}'; {beside}"
    return beside


def paths_of(root: type[BaseModel], word: str) -> list[str]:
    """Return the whole paths of the keys that are called `word`, or nearly so.

    The nearest come first, of these those of fewer parts. Keys below names of the user's own are
    left out.
    """
    paths = _all_paths(root)
    names = {path.rpartition(".")[2] for path in paths}
    near = get_close_matches(word, sorted(names), n=3, cutoff=_VERY_CLOSE)
    return [path for name in near for path in paths if path.rpartition(".")[2] == name]


def _all_paths(root: type[BaseModel]) -> list[str]:
    found: list[str] = []
    level: list[tuple[str, Any]] = [("", root)]
    while level:
        inner: list[tuple[str, Any]] = []
        for path, section in level:
            for name, annotation in _annotations(section).items():
                found.append(path + name)
                sections = [o for o in (annotation, *get_args(annotation)) if _annotations(o)]
                if get_origin(annotation) is not dict:
                    inner += [(f"{path}{name}.", each) for each in sections]
        level = inner
    return found


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
