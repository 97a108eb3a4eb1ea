"""Where a teacher doubts the labels: identities it takes for one, images unlike their identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.mining import Neighbours, mine_neighbours

NEIGHBOURS = 100
"""Identities compared with each one: as many as `rad` looks for, so that both share the cache."""
_BLOCK = 8192
_MOST_COSINES = 1 << 24
"""Held at once: 64 MiB."""


@dataclass(frozen=True)
class LabelNoise:
    """What a teacher thinks of labels.

    Attributes:
        pairs: int64 (P, 2), pairs of identities, the lower number first, nearest pairs first: all
            among each other's nearest `NEIGHBOURS`.
        cosines: float32 (P,), of their prototypes.
        images: float32 (N,), cosine of each image with the mean of the *other* images of its
            identity; NaN for an identity's only image.
        prototypes: float32 (M, D).
        rows: int64 (N,), rows of the images in the bank.
    """

    pairs: np.ndarray
    cosines: np.ndarray
    images: np.ndarray
    prototypes: np.ndarray
    rows: np.ndarray

    def farthest(self, below: float) -> np.ndarray:
        """Return indices of images whose cosine is below `below`, the least first."""
        far = np.flatnonzero(self.images < below)
        return far[np.argsort(self.images[far], kind="stable")]


def find_label_noise(bank: Bank, faces: FaceDataset) -> LabelNoise:
    """Compare identities with each other, and images with their own identity.

    An image is compared with the mean of the others of its identity: with itself in the mean, even
    a stranger looks like the one companion it has.

    Args:
        bank: The teacher's embeddings, plain view.
        faces: The labelled faces.

    Raises:
        FacedistillError: See `mine_neighbours`.
    """
    mined = mine_neighbours(bank, faces, NEIGHBOURS)
    prototypes, rows = mined.prototypes.numpy(), bank.rows_of(faces)
    pairs, cosines = _closest_pairs(mined)
    images = _cosines_with_others(bank, rows, faces.labels, prototypes)
    return LabelNoise(pairs, cosines, images, prototypes, rows)


def nearest_other(
    noise: LabelNoise, bank: Bank, indices: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the identity, not its own, that each image is nearest to, and the cosine.

    Args:
        noise: Of the same bank and faces.
        bank: The bank.
        indices: int64 (F,), the images.
        labels: int64 (N,) of all faces.

    Returns:
        (int64 (F,), float32 (F,)).
    """
    others, values = np.zeros(len(indices), np.int64), np.zeros(len(indices), np.float32)
    step = max(1, _MOST_COSINES // len(noise.prototypes))
    for start in range(0, len(indices), step):
        part = indices[start : start + step]
        cosines = bank.embeddings(noise.rows[part]) @ noise.prototypes.T
        cosines[np.arange(len(part)), labels[part]] = -np.inf
        others[start : start + step] = cosines.argmax(1)
        values[start : start + step] = cosines.max(1)
    return others, values


def _closest_pairs(mined: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """Return every pair of neighbours once, nearest first, of equals the lower numbers first."""
    indices, cosines = mined.indices.numpy(), mined.cosines.numpy()
    size, count = indices.shape
    first, second = np.repeat(np.arange(size), count), indices.ravel()
    names = np.minimum(first, second) * size + np.maximum(first, second)
    names, places = np.unique(names, return_index=True)
    values = cosines.ravel()[places]
    order = np.argsort(-values, kind="stable")
    return np.stack(np.divmod(names[order], size), 1), values[order]


def _cosines_with_others(
    bank: Bank, rows: np.ndarray, labels: np.ndarray, prototypes: np.ndarray
) -> np.ndarray:
    """Return each image's cosine with the mean of its identity's other images."""
    own = np.empty(len(rows))
    order = np.argsort(rows, kind="stable")
    starts = range(0, len(order), _BLOCK)
    for start in track(starts, "comparing images", len(starts), "blocks"):
        part = order[start : start + _BLOCK]
        own[part] = np.einsum("nd,nd->n", bank.embeddings(rows[part]), prototypes[labels[part]])
    # The sum s of an identity's embeddings e has length sum e.s/|s|, the sum of these cosines, and
    # what is left of it without one image is s - e.
    length = np.bincount(labels, own)[labels]
    rest = np.sqrt(np.maximum(length**2 - 2 * length * own + 1, 0))
    alone = np.bincount(labels)[labels] == 1
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = np.where(alone, np.nan, (length * own - 1) / rest)
    return np.clip(cosines, -1, 1).astype(np.float32)
