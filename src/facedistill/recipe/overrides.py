"""Settings `a.b=value`, read once: where they go and what they set."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean
from facedistill.recipe.keys import kinds_at
from facedistill.recipe.plain_yaml import check_plain, parse_yaml
from facedistill.recipe.schema import PairsRecipe, Recipe

_REFERENCE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Override:
    """A setting of a recipe.

    Attributes:
        path: The keys that lead to what it sets.
        value: What it is set to; None takes a mapping out.
        text: The setting as it was typed, for messages.
    """

    path: tuple[str, ...]
    value: Any
    text: str

    @classmethod
    @lru_cache(maxsize=4096)
    def parse(cls, text: str) -> Override:
        """Read `a.b=value`.

        The value is YAML, but where the key takes text: there a value is what was typed, also one
        that YAML would read otherwise, say a path such as `2024` or `set #2`. Quotes around the
        whole of it are YAML's, and `null` is where the key may be without a value.

        Raises:
            FacedistillError: If there is no key or no `=`, or the value cannot be read.
        """
        place, equals, value = text.partition("=")
        if not equals or not place.strip():
            raise FacedistillError(f"--set {text}: write it as a.b=value")
        path, value = tuple(place.strip().split(".")), value.strip()
        if _is_taken_as_typed(path, value):
            try:
                check_plain(value)
            except ValueError as error:
                raise FacedistillError(f"--set {text}: {error}") from error
            return cls(path, value, text)
        return cls(path, parse_yaml(value, f"--set {text}: the value"), text)

    def apply(self, tree: dict[str, Any]) -> None:
        """Set the value in a recipe's tree of keys.

        Raises:
            FacedistillError: If a key on the way has a value and no keys, or the objective to be
                taken out is not there.
        """
        *parents, leaf = self.path
        for parent in parents:
            below = tree.get(parent)
            if below is None:
                below = tree[parent] = {}
            if not isinstance(below, dict):
                raise FacedistillError(f"--set {self.text}: '{parent}' is a value, it has no keys")
            tree = below
        if self.value is None and parents == ["objectives"] and leaf not in tree:
            hint = f": {did_you_mean(leaf, tree)}" if tree else ""
            raise FacedistillError(f"--set {self.text}: the recipe has no such objective{hint}")
        if self.value is None and isinstance(tree.get(leaf), dict):
            del tree[leaf]
        else:
            # A mapping in the tree may be changed by later settings, this one may not.
            tree[leaf] = copy.deepcopy(self.value)

    @property
    def of_teacher(self) -> bool:
        """Whether it is for recipes with a teacher."""
        return self.path[0] == "teacher"

    @property
    def of_objective(self) -> str | None:
        """The objective that a recipe must have: it sets an option of it, or takes it away."""
        if self.path[0] != "objectives" or len(self.path) < 2 or self.gives_objective:
            return None
        return self.path[1]

    @property
    def gives_objective(self) -> bool:
        """Whether it is `objectives.NAME={...}`."""
        return self.path[0] == "objectives" and len(self.path) == 2 and self.value is not None

    def concerns(self, tree: Mapping[str, Any]) -> bool:
        """Whether this setting of many recipes is for this one."""
        if self.of_teacher:
            return tree.get("teacher") is not None
        return self.of_objective is None or self.of_objective in (tree.get("objectives") or {})

    def replaces(self, earlier: Override) -> bool:
        """Whether nothing of an earlier setting is left after this one."""
        return earlier.path[: len(self.path)] == self.path

    def overlaps(self, other: Override) -> bool:
        """Whether one sets a part of what the other sets."""
        shorter = min(len(self.path), len(other.path))
        return self.path[:shorter] == other.path[:shorter]

    def references(self) -> list[str]:
        """Return the rows that the value refers to, as in `${row}`."""
        return [row for text in _texts(self.value) for row in _REFERENCE.findall(text)]

    def resolved(self, folder: Callable[[str], str]) -> Override:
        """Return the setting with each `${row}` replaced by that row's folder."""
        value = _map_text(
            self.value, lambda text: _REFERENCE.sub(lambda match: folder(match[1]), text)
        )
        return replace(self, value=value)


def _is_taken_as_typed(path: tuple[str, ...], value: str) -> bool:
    kinds = kinds_at(Recipe, path)
    if not value or value[0] in "'\"[{" or not {str, PairsRecipe} & {*kinds}:
        return False
    if str in kinds and {int, float} & {*kinds}:
        return False
    may_be_none = type(None) in kinds or PairsRecipe in kinds
    return not (may_be_none and value in ("null", "~"))


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a tree of values."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def _map_text(value: Any, change: Callable[[str], str]) -> Any:
    """Change every text in a tree of values."""
    if isinstance(value, dict):
        return {key: _map_text(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_map_text(each, change) for each in value]
    return change(value) if isinstance(value, str) else value
