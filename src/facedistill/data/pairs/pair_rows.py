"""Pairs that a text list gives a line each: what lists of every layout have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.image_list import read_lines
from facedistill.data.labels import UNLABELLED
from facedistill.data.pairs.pair_drawing import FOLDS, tenths
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.pairs.shared_images import share_images, warn_of_repeated
from facedistill.runtime.image_file import read_image_file


class ListedImage(NamedTuple):
    """An image that a list names.

    Attributes:
        path: Its file.
        identity: Its identity's name; None where the list does not say.
    """

    path: str
    identity: str | None = None


class PairRow(NamedTuple):
    """A line of a list.

    Attributes:
        line: Its number.
        left: One image.
        right: The other.
        same: Whether both are of one identity.
    """

    line: int
    left: ListedImage
    right: ListedImage
    same: bool


class _ListedImages(FaceDataset):
    """Image files that a list of pairs names."""

    def __init__(self, name: str, images: Sequence[ListedImage]) -> None:
        self.name = name
        self.paths = [Path(image.path) for image in images]
        known: dict[str, int] = {}
        self.labels = np.array(
            [
                UNLABELLED if name is None else known.setdefault(name, len(known))
                for name in (image.identity for image in images)
            ],
            np.int64,
        )

    def encoded(self, index: int) -> bytes:
        """Return the bytes of image file `index`."""
        return read_image_file(self.paths[index])

    def where(self, index: int) -> str:
        """Return the image file's path."""
        return str(self.paths[index])


def listed_pairs(
    folder: Path, path: Path, rows: Sequence[PairRow], folds: np.ndarray, *, name: str | None = None
) -> PairSet:
    """Return the pairs of a list.

    Args:
        folder: What names of images in tables are relative to.
        path: The list.
        rows: Its lines.
        folds: int64 (P,), each pair's fold; where all are 0, they are cut into ten.
        name: What to call it; by default its folder.
    """
    shared = share_images([(row.left.path, row.right.path) for row in rows])
    warn_of_repeated(str(path), shared, [f"line {rows[pair].line}" for pair in shared.repeated[:1]])
    images = [
        rows[entry // 2].right if entry % 2 else rows[entry // 2].left for entry in shared.entries
    ]
    same = np.array([row.same for row in rows], np.bool_)
    names = [image.identity for image in images if image.identity is not None]
    return PairSet(
        name or str(folder),
        _ListedImages(name or str(folder), images),
        shared.pairs,
        same,
        _ten_folds(folds, same),
        image_names=[Path(os.path.relpath(image.path, folder)).as_posix() for image in images],
        identity_names=names if len(names) == len(images) else None,
    )


def _ten_folds(folds: np.ndarray, same: np.ndarray) -> np.ndarray | None:
    """Return each pair's fold; the single fold of a list without folds is cut into ten."""
    if folds.any():
        return folds
    if len(same) < 2 * FOLDS:
        return None
    folds = folds.copy()
    for kind in (same, ~same):
        folds[kind] = tenths(int(kind.sum()))
    return folds


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a list that are not empty, with their numbers.

    Raises:
        FacedistillError: If it cannot be read, or has none.
    """
    lines = [(n, line.strip()) for n, line in enumerate(read_lines(path), start=1) if line.strip()]
    if not lines:
        raise FacedistillError(f"{path} is empty: its first line must be like `10 300`")
    return lines


def split_fields(line: str) -> list[str]:
    """Return the fields of a line, which tabs separate, else commas, else semicolons, or blanks."""
    separator = next((mark for mark in "\t," if mark in line), None)
    if separator is None and line.count(";") > 1:
        separator = ";"
    fields = [field.strip() for field in line.split(separator)]
    while fields and not fields[-1]:  # A table of fewer columns than its widest line.
        fields.pop()
    return fields
