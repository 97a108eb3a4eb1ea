"""The sets of pairs that a comparison's rows are measured on, as the command line names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facedistill.core.errors import FacedistillError

NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,79}")
"""What rows and sets may be called: a folder's name on every system."""


def named_pairs(sources: Sequence[str]) -> dict[str, str]:
    """Take `SOURCE` or `NAME=SOURCE` apart; a source without a name is called by its file.

    Raises:
        FacedistillError: If two sets have one name.
    """
    named: dict[str, str] = {}
    for source in sources:
        name, _, rest = source.partition("=")
        if not rest or not NAME.fullmatch(name):  # procedural:identities=9 names none
            name, rest = source.partition(":")[0] if ":" in source else Path(source).stem, source
        if name in named:
            raise FacedistillError(f"two sets of pairs are called '{name}': write NAME={source}")
        named[name] = rest
    return named


def with_all_pairs(sets: Mapping[str, Any]) -> dict[str, Any]:
    """Put all pairs of every set of pairs before the sets themselves.

    Raises:
        FacedistillError: If there is no set.
    """
    if not sets:
        raise FacedistillError("--all-pairs goes with pairs: name them with --pairs")
    plain = {
        name: {"pairs": each} if isinstance(each, str) else dict(each)
        for name, each in sets.items()
    }
    every = {
        f"{name}, all pairs": {k: v for k, v in each.items() if k != "groups"} | {"all_pairs": True}
        for name, each in plain.items()
        if not each.get("all_pairs")
    }
    return {**every, **plain}
