"""Evaluation without a network, from embeddings in `.npy` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.npy import Rows, open_embeddings
from facedistill.distill.bank.bank import Bank
from facedistill.evaluation.options import EvaluationOptions


@dataclass(frozen=True)
class StoredEmbeddings:
    """Embeddings of a protocol's images, not normalised.

    Attributes:
        name: The file.
        plain: (N, D) floats, read when they are asked for.
        flipped: (N, D) of the mirrored images, or None.
    """

    name: str
    plain: Rows
    flipped: Rows | None = None

    @property
    def flip(self) -> bool:
        """Whether the mirrored images' embeddings are added."""
        return self.flipped is not None

    def summed(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the embeddings to compare, the mirrored images' added where they are there.

        Args:
            rows: (N,) which; None for all.

        Returns:
            (N, D), float64 where two were added.
        """
        chosen = slice(None) if rows is None else rows
        if self.flipped is None:
            return self.plain[chosen]
        return np.asarray(self.plain[chosen], dtype=np.float64) + self.flipped[chosen]

    def check(self, options: EvaluationOptions) -> None:
        """Refuse what would take images.

        Raises:
            FacedistillError: If a mask or the table of robustness was asked for.
        """
        if options.mask is not None:
            raise FacedistillError(
                f"{self.name}: masks are drawn on images, and these are embeddings: give a network"
            )
        if options.robustness is not None:
            raise FacedistillError(
                f"{self.name}: images are altered for the table of robustness, and these are "
                "embeddings: give a network"
            )


def open_stored(path: str | Path, flipped: str | Path | None = None) -> StoredEmbeddings:
    """Open embeddings.

    Args:
        path: A `.npy` file of floats (N, D).
        flipped: The same of the mirrored images.

    Raises:
        FacedistillError: If a file is absent, damaged or holds something else.
    """
    plain = _open(Path(path))
    if flipped is None:
        return StoredEmbeddings(str(path), plain)
    mirrored = _open(Path(flipped))
    if mirrored.shape != plain.shape:
        raise FacedistillError(
            f"{flipped} has shape {mirrored.shape}, but {path} has {plain.shape}: "
            "both must hold the same images"
        )
    return StoredEmbeddings(str(path), plain, mirrored)


def of_bank(bank: Bank, faces: FaceDataset) -> StoredEmbeddings:
    """Return what a bank has of faces, a row for each, of the length that the teacher gave them.

    Raises:
        FacedistillError: If an image is not in the bank.
    """
    rows = bank.rows_of(faces)
    flipped = None
    if "flipped" in bank.info.views:
        flipped = bank.raw_embeddings(rows, np.ones(len(rows), np.bool_))
    return StoredEmbeddings(bank.info.teacher_name, bank.raw_embeddings(rows), flipped)


def _open(path: Path) -> Rows:
    try:
        return open_embeddings(path)
    except FileNotFoundError:
        raise FacedistillError(f"{path} does not exist") from None
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
