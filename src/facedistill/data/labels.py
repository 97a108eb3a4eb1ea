"""Identity labels: their one allowed form, and how to get there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.sample import Sample

UNLABELLED = -1

FEWEST_TO_SPLIT = 4
"""Identities, of which two are held out and two trained on."""

_LEAST_OF_A_SHARE = 5
"""Identities, fewer of which say little of how good a network is."""


def check_labels(labels: np.ndarray, name: str) -> int:
    """Require that labels are 0..M-1 with every identity present, or all -1.

    Args:
        labels: int64 (N,).
        name: What the labels belong to, for messages.

    Returns:
        M, the number of identities; 0 where all labels are -1 (unlabelled).

    Raises:
        FacedistillError: If the set is empty, labels are mixed with -1 or below it, or an
            identity between 0 and the largest label has no image.
    """
    if not len(labels):
        raise FacedistillError(f"{name}: the data set holds no images")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest == highest == UNLABELLED:
        return 0
    if lowest == UNLABELLED:
        count = int((labels == UNLABELLED).sum())
        raise FacedistillError(
            f"{name}: {count:,} of {len(labels):,} images are unlabelled (-1) beside labelled "
            "ones; label them or leave them out"
        )
    if lowest < 0:
        raise FacedistillError(f"{name}: label {lowest} is negative; identities count from 0")
    # The sorted distinct labels never need more memory than the labels, however large they are.
    present = np.unique(labels)
    if len(present) == highest + 1:
        return highest + 1
    hole = int(np.flatnonzero(present != np.arange(len(present)))[0])
    raise FacedistillError(
        f"{name}: labels run to {highest} but no image has label {hole} "
        f"({highest + 1 - len(present):,} missing); number them anew: "
        "`facedistill prepare --pack --relabel`, or in a recipe data.relabel: true"
    )


def warn_of_one_identity(labels: np.ndarray, name: str) -> None:
    """Warn where all images are of one identity.

    Args:
        labels: int64 (N,), as `check_labels` has passed them.
        name: What the labels belong to.
    """
    if len(labels) and labels.max() == 0:
        warnings.warn(
            f"{name}: all {len(labels):,} images are of one identity, so there is nothing to tell "
            "apart: a loss from labels is 0 and an accuracy 1 whatever is learned; give images of "
            "several identities, a folder for each",
            stacklevel=3,
        )


def relabel(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number identities anew, 0..M-1 in the order of their old labels.

    Args:
        labels: Integers (N,); -1 (unlabelled) stays -1.

    Returns:
        (new labels int64 (N,), mapping int64 (M,) from new label to old).
    """
    known = labels != UNLABELLED
    mapping, inverse = np.unique(labels[known], return_inverse=True)
    renumbered = np.full(len(labels), UNLABELLED, np.int64)
    renumbered[known] = inverse
    return renumbered, mapping.astype(np.int64)


def identities_held_out(wanted: int | float, identities: int) -> int:
    """Return how many identities are held out where so many, or such a share, are wanted.

    Args:
        wanted: A whole number, or a share below 1. A share is five at least, or half of a set
            of fewer than ten.
        identities: How many there are.

    Returns:
        As many as wanted; of a set that has not more than that, a fifth and two at least. At least
        two are left, and 0 is returned of fewer than `FEWEST_TO_SPLIT`.
    """
    if identities < FEWEST_TO_SPLIT:
        return wanted if isinstance(wanted, int) and wanted < identities else 0
    if isinstance(wanted, float):
        least = min(_LEAST_OF_A_SHARE, identities // 2)
        return min(max(round(wanted * identities), least), identities - 2)
    return wanted if wanted < identities else max(2, identities // 5)


def stated_number(wanted: int | float, identities: int) -> str:
    """Return in words how many identities are wanted: of a share, how many that is of all."""
    if isinstance(wanted, float):
        return f"{wanted:g} or {round(wanted * identities):,} of them"
    return f"{wanted:,}"


def split_identities(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Set `count` identities apart for validation; no identity is on both sides.

    Args:
        labels: int64 (N,), 0..M-1.
        count: Validation identities, 1..M-1.
        seed: Which ones; the same seed and identities give the same split.

    Returns:
        (training indices, validation indices), each int64 and ascending.

    Raises:
        FacedistillError: If the labels are unlabelled or `count` leaves one side empty.
    """
    identities = np.unique(labels[labels != UNLABELLED])
    if not len(identities):
        raise FacedistillError(
            "cannot split by identity, the images are unlabelled: set data.validation_identities: 0"
        )
    if not 0 < count < len(identities):
        raise FacedistillError(
            f"cannot set {count} identities apart: the data set has {len(identities):,}, "
            f"so give data.validation_identities 1 to {len(identities) - 1:,}"
        )
    chosen = np.random.default_rng(seed).choice(identities, size=count, replace=False)
    validation = np.isin(labels, chosen)
    return np.flatnonzero(~validation), np.flatnonzero(validation)


def split_images(images: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Set `count` images apart for validation, whoever they show.

    Args:
        images: How many there are.
        count: Validation images, 1..images - 1.
        seed: Which ones; the same seed and number of images give the same split.

    Returns:
        (training indices, validation indices), each int64 and ascending.

    Raises:
        FacedistillError: If `count` leaves one side empty.
    """
    if not 0 < count < images:
        raise FacedistillError(
            f"cannot set {count} images apart: the data set has {images:,}, so give "
            f"data.validation_images 1 to {images - 1:,}"
        )
    chosen = np.random.default_rng(seed).permutation(images)
    return np.sort(chosen[count:]), np.sort(chosen[:count])


class Subset(FaceDataset):
    """Some samples of a data set, with identities numbered densely and keys unchanged.

    Args:
        dataset: Where the samples come from.
        indices: Which of them, in which order.
        labels: int (len(indices),) to use instead of the densely renumbered original ones.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        indices: np.ndarray | Sequence[int],
        labels: np.ndarray | None = None,
    ) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.int64)
        self.name = f"{dataset.name} ({len(self.indices):,} of {len(dataset):,})"
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < len(dataset):
            raise IndexError(f"subset indices must lie in 0..{len(dataset) - 1}")
        if labels is None:
            labels, _ = relabel(dataset.labels[self.indices])
        if len(labels) != len(self.indices):
            raise ValueError(f"{len(labels)} labels for {len(self.indices)} indices")
        self.labels = np.asarray(labels, np.int64)

    def encoded(self, index: int) -> bytes:
        """Return the image file's bytes of sample `index`."""
        return self.dataset.encoded(int(self.indices[index]))

    def where(self, index: int) -> str:
        """Return the sample's place in the data set it comes from."""
        return self.dataset.where(int(self.indices[index]))

    def file_name(self, index: int) -> str:
        """Return the path it has in the data set that it comes from."""
        return self.dataset.file_name(int(self.indices[index]))

    def copy_name(self, index: int) -> str:
        """Return the name it has in the data set that it comes from."""
        return self.dataset.copy_name(int(self.indices[index]))

    def key(self, index: int) -> bytes:
        """Return the sample's key, the one it has in the data set it comes from."""
        return self.dataset.key(int(self.indices[index]))

    def marks(self, index: int) -> bytes:
        """Return what the data set that it comes from has written down of it."""
        return self.dataset.marks(int(self.indices[index]))

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index` under its new label."""
        sample = self.dataset[int(self.indices[index])]
        return sample._replace(label=int(self.labels[index]))
