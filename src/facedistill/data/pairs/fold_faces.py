"""The images of a list of pairs as a labelled set, whose folds share no identity.

A verification list of some thousand pairs cannot show a false accept rate of 1e-4; its images can.
The protocol of LFW, which CFP-FP, AgeDB-30 and others follow, gives the ten folds identities of
their own. So any two images of different folds are an impostor pair, and two images are genuine if
genuine pairs lead from one to the other. Of two other images of one fold nothing is known.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import Subset
from facedistill.data.near_duplicates import near_duplicates, thumbnails
from facedistill.data.pairs.pair_drawing import tenths
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.sample import content_key


@dataclass(frozen=True)
class FoldFaces:
    """Images that are distinct by content, labelled by what genuine pairs say.

    Attributes:
        faces: The images; two of one label are a genuine pair.
        folds: int64 (N,), the fold of each; two of different folds are an impostor pair.
        images: int64 (N,), which image of the pairs each is.
    """

    faces: Subset
    folds: np.ndarray
    images: np.ndarray


def fold_faces(pairset: PairSet) -> FoldFaces:
    """Take the images of pairs as a labelled set.

    Warns of images of two folds that are nearly the same, which their folds call two identities.

    Args:
        pairset: Pairs in folds, which share no identity.

    Raises:
        FacedistillError: If an image is in two folds, or damaged.
    """
    images, pairs = _distinct(pairset)
    folds = _fold_of_images(pairset, pairs, len(images))
    left, right = pairs[pairset.same].T
    links = coo_array((np.ones(len(left)), (left, right)), shape=(len(images), len(images)))
    labels = connected_components(links, directed=False)[1].astype(np.int64)
    faces = Subset(pairset.faces, images, labels)
    faces.name = pairset.name
    if near := repeated_across_folds(faces, folds):
        first = " and ".join(faces.where(index) for index in near[0])
        warnings.warn(
            f"{pairset.name}: {len(near):,} pairs of images of different folds are nearly the same "
            f"photo and count as impostors, first {first}: the folds share identities, so true "
            "accept rates at low false accept rates are too low",
            stacklevel=2,
        )
    return FoldFaces(faces, folds, images)


def check_folds(pairset: PairSet) -> None:
    """Refuse pairs that `fold_faces` refuses, without decoding an image.

    Raises:
        FacedistillError: If an image is in two folds, or cannot be read.
    """
    images, pairs = _distinct(pairset)
    _fold_of_images(pairset, pairs, len(images))


def _distinct(pairset: PairSet) -> tuple[np.ndarray, np.ndarray]:
    """Return which images of the pairs are distinct by content, and the pairs (P, 2) of those."""
    places: dict[bytes, int] = {}
    keys = [content_key(pairset.faces.encoded(index)) for index in range(len(pairset))]
    rows = np.array([places.setdefault(key, len(places)) for key in keys])
    images = np.unique(rows, return_index=True)[1].astype(np.int64)
    return images, rows[pairset.pairs]


def _fold_of_images(pairset: PairSet, pairs: np.ndarray, count: int) -> np.ndarray:
    of_pairs = tenths(len(pairs)) if pairset.folds is None else pairset.folds
    folds = np.full(count, -1, np.int64)
    for column in pairs.T:
        folds[column] = of_pairs
    for column in pairs.T:
        other = np.flatnonzero(folds[column] != of_pairs)
        if len(other):
            pair = int(other[0])
            both = sorted((of_pairs[pair], folds[column[pair]]))
            raise FacedistillError(
                f"{pairset.name}: an image of pair {pair} is in folds {both[0]} and {both[1]}, so "
                "that folds do not tell identities apart: measure the listed pairs alone, without "
                "--all-pairs or all_pairs: true"
            )
    return folds


def repeated_across_folds(faces: FaceDataset, folds: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of images of different folds that are one photo, resized or compressed anew.

    Args:
        faces: The images.
        folds: (N,) integers.

    Raises:
        FacedistillError: If an image is damaged.
    """
    bits = thumbnails(faces)
    return near_duplicates(bits, bits, lambda rows: folds[rows, None] < folds[None])
