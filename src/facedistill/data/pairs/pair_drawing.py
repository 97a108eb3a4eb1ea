"""Drawing verification pairs from labelled faces."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.labels import UNLABELLED

FOLDS = 10
DEFAULT_PAIRS = 6000
"""As many as LFW has."""


def make_pairs(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw mated and impostor pairs, half each, none twice.

    The pairs come as ten contiguous folds, first the mated pairs, then the impostor pairs. Where
    there are identities enough, the folds share none of them, so that a threshold chosen on nine
    folds is tested on other identities; else all identities are in every fold. Mated pairs are
    spread over identities as evenly as their images allow; impostor pairs are drawn
    evenly over images.

    Args:
        labels: Integers (N,), each image's identity; images with -1 are left out.
        count: Number of pairs P, at least 2.
        seed: Which pairs; the same labels and seed give the same pairs.

    Returns:
        (pairs int64 (P, 2), indices into `labels`; same bool (P,)).

    Raises:
        FacedistillError: If the labels do not give as many pairs; the message says how many.
    """
    labels = np.asarray(labels)
    if count < 2:
        raise FacedistillError(f"cannot draw {count} pairs: ask for at least 2")
    most = most_pairs(labels)
    if count > most:
        raise FacedistillError(
            f"cannot draw {count:,} pairs, half of them of one identity: the labelled images give "
            f"at most {most:,}"
        )
    rng = np.random.default_rng(seed)
    identities = _images_by_identity(labels)
    bounds = np.linspace(0, count, FOLDS + 1).astype(int)
    genuine = np.diff(bounds // 2)
    impostors = np.diff(bounds) - genuine
    groups = _deal(identities, rng)
    if all(
        _genuine_capacity(group).sum() >= wanted and _impostor_capacity(group) >= others
        for group, wanted, others in zip(groups, genuine, impostors, strict=True)
    ):
        positive = [_genuine(g, n, rng) for g, n in zip(groups, genuine, strict=True)]
        negative = [_impostors(g, n, rng) for g, n in zip(groups, impostors, strict=True)]
    else:
        shuffled = rng.permutation(_genuine(identities, genuine.sum(), rng))
        positive = np.split(shuffled, np.cumsum(genuine)[:-1])
        negative = np.split(_impostors(identities, impostors.sum(), rng), np.cumsum(impostors)[:-1])
    folds = [part for both in zip(positive, negative, strict=True) for part in both]
    kinds = np.tile([True, False], FOLDS)
    return np.concatenate(folds), np.repeat(kinds, [len(part) for part in folds])


def tenths(count: int) -> np.ndarray:
    """Return the folds that `make_pairs` lays out: contiguous tenths, none empty from 10 on.

    Args:
        count: Number of pairs P.

    Returns:
        int64 (P,), 0..9, ascending.
    """
    bounds = np.linspace(0, count, FOLDS + 1).astype(int)
    return np.repeat(np.arange(FOLDS), np.diff(bounds))


def most_pairs(labels: np.ndarray) -> int:
    """Return how many pairs `make_pairs` can draw from labels at most."""
    identities = _images_by_identity(np.asarray(labels))
    return 2 * min(int(_genuine_capacity(identities).sum()), _impostor_capacity(identities))


def _images_by_identity(labels: np.ndarray) -> list[np.ndarray]:
    """Return each known identity's images."""
    known = np.flatnonzero(labels != UNLABELLED)
    order = known[np.argsort(labels[known], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []


def _deal(identities: list[np.ndarray], rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Deal identities into ten groups at random, those with most images first."""
    shuffled = [identities[index] for index in rng.permutation(len(identities))]
    shuffled.sort(key=len, reverse=True)
    return [shuffled[group::FOLDS] for group in range(FOLDS)]


def _genuine_capacity(identities: Iterable[np.ndarray]) -> np.ndarray:
    sizes = np.array([len(images) for images in identities], np.int64)
    return sizes * (sizes - 1) // 2


def _impostor_capacity(identities: Iterable[np.ndarray]) -> int:
    sizes = np.array([len(images) for images in identities], np.int64)
    return int(sizes.sum() ** 2 - (sizes**2).sum()) // 2


def _genuine(identities: list[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` distinct mated pairs, as evenly over identities as possible."""
    capacity = _genuine_capacity(identities)
    drawn = [np.empty((0, 2), np.int64)]
    for images, limit, quota in zip(identities, capacity, _fill(capacity, count, rng), strict=True):
        if quota:
            # Pair number r of all (i, j) with i < j, in the order (0, 1), (0, 2), (1, 2), (0, 3).
            rank = rng.choice(limit, quota, replace=False)
            right = ((1 + np.sqrt(1 + 8 * rank)) // 2).astype(np.int64)
            left = rank - right * (right - 1) // 2
            drawn.append(np.stack([images[left], images[right]], axis=1))
    return np.concatenate(drawn)


def _fill(capacity: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Share `count` among identities as evenly as each can give."""
    low, high = 0, count
    while low < high:  # the highest level at which the shares do not exceed the count
        level = (low + high + 1) // 2
        low, high = (
            (level, high) if np.minimum(capacity, level).sum() <= count else (low, level - 1)
        )
    shares = np.minimum(capacity, low)
    open_to_more = np.flatnonzero(capacity > low)
    shares[rng.permutation(open_to_more)[: count - shares.sum()]] += 1
    return shares


def _impostors(identities: list[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` distinct impostor pairs, evenly over all that there are."""
    if not count:
        return np.empty((0, 2), np.int64)
    images = np.concatenate(identities)
    sizes = np.array([len(own) for own in identities])
    # Image k pairs with every image behind its own identity's; pairs are numbered in that order.
    ends = np.repeat(np.cumsum(sizes), sizes)
    behind = len(images) - ends
    numbered = np.cumsum(behind)
    rank = rng.choice(int(numbered[-1]), count, replace=False)
    left = np.searchsorted(numbered, rank, side="right")
    right = ends[left] + rank - (numbered[left] - behind[left])
    return np.stack([images[left], images[right]], axis=1)
