"""Images that several pairs of a list show, and pairs that it lists again."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from facedistill.core.errors import FacedistillError

_MOST_REPEATED = 100
"""So many pairs may be repeated in any list; in longer ones up to half of them."""


@dataclass(frozen=True)
class SharedImages:
    """The images of a list of pairs.

    Attributes:
        pairs: int64 (P, 2), each pair's two images.
        entries: For each image, 2 i or 2 i + 1: the left or the right one of pair i.
        repeated: Pairs that repeat an earlier one, in either order, or show one image twice.
    """

    pairs: np.ndarray
    entries: list[int]
    repeated: list[int]


def share_images(pairs: Sequence[tuple[Hashable, Hashable]]) -> SharedImages:
    """Give images that are the same one index.

    A repeated pair keeps images of its own, so that a published list is measured as published and
    yet, as indices, no pair comes twice.

    Args:
        pairs: What each pair's images are known by.
    """
    rows: dict[Hashable, int] = {}
    entries: list[int] = []
    indices = np.empty((len(pairs), 2), np.int64)
    seen: set[frozenset[Hashable]] = set()
    repeated = []
    for pair, keys in enumerate(pairs):
        both = frozenset(keys)
        repeats = len(both) == 1 or both in seen
        if repeats:
            repeated.append(pair)
        seen.add(both)
        for side, key in enumerate(keys):
            if repeats or key not in rows:
                rows.setdefault(key, len(entries))
                indices[pair, side] = len(entries)
                entries.append(2 * pair + side)
            else:
                indices[pair, side] = rows[key]
    return SharedImages(indices, entries, repeated)


def warn_of_repeated(name: str, shared: SharedImages, place: Sequence[str]) -> None:
    """Warn of repeated pairs.

    Args:
        name: What the pairs are called.
        shared: The pairs.
        place: Where the first repeated one is; empty where there is none.

    Raises:
        FacedistillError: If most pairs of a long list are repeated.
    """
    repeated, count = len(shared.repeated), len(shared.pairs)
    if not repeated:
        return
    what = f"{repeated:,} of {count:,} pairs repeat an earlier one or show one image twice"
    first = f"(first {place[0]})"
    if repeated > max(_MOST_REPEATED, count // 2):
        raise FacedistillError(f"{name}: {what} {first}: list each pair once")
    warnings.warn(f"{name}: {what} {first}; they are measured as listed", stacklevel=3)
