"""Pairs of faces for verification: are the two the same identity?

Three sources give the same `PairSet`: `.bin` files (InsightFace's packed LFW, CFP-FP, AgeDB-30 and
others), folders with a `pairs.txt` (LFW's own layout), and any labelled data set, from which pairs
are drawn. An image that several pairs show is held, and later embedded, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from facedistill.core.errors import FacedistillError, naming
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED, Subset
from facedistill.data.pairs.pair_drawing import FOLDS, make_pairs, tenths


class PairSet:
    """Pairs of images, and whether each shows one identity.

    Args:
        name: What to call it in messages and reports.
        faces: The images; index i of `pairs` is its sample i. Its labels, where known, are the
            identities.
        pairs: Integers (P, 2), indices into the images.
        same: Bools (P,).
        folds: Integers (P,), each pair's fold 0..K-1; None for contiguous tenths.
        image_names: What each image is called in tables about images; by default its number.
        identity_names: What each image's identity is called; by default the label's number.

    Raises:
        FacedistillError: If shapes do not fit, there is no pair, or an index is out of range.
    """

    def __init__(
        self,
        name: str,
        faces: FaceDataset,
        pairs: np.ndarray,
        same: np.ndarray,
        folds: np.ndarray | None = None,
        image_names: Sequence[str] | None = None,
        identity_names: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.faces = faces
        self.image_names = as_names(range(len(faces)) if image_names is None else image_names)
        known = (faces.labels != UNLABELLED).any()
        identities = faces.labels.tolist() if identity_names is None and known else identity_names
        self.identity_names = None if identities is None else as_names(identities)
        self.pairs = np.asarray(pairs, np.int64)
        self.same = np.asarray(same, np.bool_)
        self.folds = None if folds is None else np.asarray(folds, np.int64)
        count = len(self.same)
        if not count:
            raise FacedistillError(f"{name} holds no pairs")
        if self.pairs.shape != (count, 2):
            raise FacedistillError(f"{name}: pairs of shape {self.pairs.shape}, {count} labels")
        if self.folds is not None and self.folds.shape != (count,):
            raise FacedistillError(f"{name}: folds of shape {self.folds.shape}, {count} pairs")
        if not 0 <= self.pairs.min() <= self.pairs.max() < len(faces):
            raise FacedistillError(f"{name}: pairs name images that are not among {len(faces):,}")

    @classmethod
    def from_dataset(cls, faces: FaceDataset, count: int, seed: int) -> PairSet:
        """Draw pairs from a labelled data set (see `make_pairs`); only images in pairs are kept.

        Args:
            faces: The data set.
            count: Number of pairs, half of them of one identity.
            seed: Which pairs.

        Raises:
            FacedistillError: If the data set cannot give as many pairs.
        """
        with naming(faces.name):
            pairs, same = make_pairs(faces.labels, count, seed)
        used, rows = np.unique(pairs, return_inverse=True)
        folds = tenths(count) if count >= FOLDS else None
        shown = Subset(faces, used)
        names = [shown.file_name(index) for index in range(len(shown))]
        known = names if all(names) else None
        return cls(faces.name, shown, rows.reshape(-1, 2), same, folds, known)

    def __len__(self) -> int:
        """Return the number of distinct images."""
        return len(self.faces)

    @property
    def identities(self) -> np.ndarray | None:
        """Each image's identity, int64 (N,), -1 where unknown; None if all are unknown."""
        labels = self.faces.labels
        return None if (labels == UNLABELLED).all() else labels

    def image(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 RGB (H, W, 3).

        Raises:
            FacedistillError: If it does not decode; the message names its place.
        """
        return self.faces[index].image


def as_names(values: Iterable[object]) -> list[str]:
    """Return each value as text."""
    return [str(value) for value in values]
