"""YAML that holds nothing but mappings with text keys, lists and plain values, within limits."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml

from facedistill.core.errors import FacedistillError

MAX_BYTES = 1 << 18
"""Largest recipe file; a long one has a few kilobytes."""
MAX_DEPTH = 20
"""Deepest nesting of lists and mappings."""


class _Loader(yaml.SafeLoader):
    """Safe YAML without its traps: aliases (a few lines can mean billions), doubled keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not taken", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    problem = f"key '{key.value}' is given twice"
                    raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
                names.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 3e-3 as text, and 1:59:59.0, 017 and 2001-01-01 as numbers and a date: a number is
# what anybody reads as one.
_INTEGER, _FLOAT, _DATE = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
_Loader.yaml_implicit_resolvers = {
    first: [each for each in known if each[0] not in (_INTEGER, _FLOAT, _DATE)]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _form in (
    (_INTEGER, r"[-+]?(0|[1-9][0-9]*)$"),
    (_FLOAT, r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)$|[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    (_FLOAT, r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_form), list("-+.0123456789"))


def parse_yaml(text: str, what: str) -> Any:
    """Read YAML.

    Args:
        text: The YAML.
        what: What it is, to begin a message with.

    Raises:
        FacedistillError: If it is no YAML, or holds what no recipe can.
    """
    try:
        tree = yaml.load(text, _Loader)
        check_plain(tree)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, LookupError) as error:
        line = " ".join(str(error).split())
        raise FacedistillError(f"{what} is no YAML to use: {line[:300]}") from error
    return tree


def check_plain(value: Any, depth: int = 0) -> None:
    """Refuse what cannot be written to YAML or JSON and read again.

    Raises:
        ValueError: If there is anything but text, numbers, lists and mappings with text keys, or
            the nesting is too deep, or a number too large.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"key {key} is no text")
            check_plain(key, depth + 1)
            check_plain(value[key], depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_plain(item, depth + 1)
    elif isinstance(value, str):
        value.encode()
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number to use")
    elif isinstance(value, int | float) and abs(value) >= 1 << 63:
        raise ValueError("a number is too large")
    elif not isinstance(value, int | float | None):
        raise ValueError(f"{value} is neither text nor a number")
