"""Pairs in the layout of Labeled Faces in the Wild: folders of images and a `pairs.txt`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.faults import Faults
from facedistill.data.pairs.pair_rows import (
    ListedImage,
    PairRow,
    listed_pairs,
    numbered_lines,
    split_fields,
)
from facedistill.data.pairs.pair_set import PairSet
from facedistill.runtime.image_file import IMAGE_SUFFIXES


def read_lfw(folder: str | Path, pairs_txt: str | Path) -> PairSet:
    """Read pairs in the layout of Labeled Faces in the Wild.

    The list's first line gives the number of folds K and of pairs n (`10 300`), or only n; then
    come, for each fold, n lines `name i j` (mated pairs) and n lines `name1 i name2 j` (impostor
    pairs). Image i of an identity is `folder/name/name_000i.jpg` (or another suffix of images). A
    list of one fold is cut into ten, each with a tenth of either kind. For pairs that the list
    gives again see `shared_images`.

    Args:
        folder: Where the identities' folders lie.
        pairs_txt: The list, UTF-8, its fields separated by tabs, commas or blanks.

    Raises:
        FacedistillError: If the list does not keep to the layout or names an image that is not
            there; the message gives the line.
    """
    folder, pairs_txt = Path(folder), Path(pairs_txt)
    lines = numbered_lines(pairs_txt)
    folds, count = _read_header(pairs_txt, lines[0])
    expected = 2 * folds * count
    if len(lines) - 1 != expected:
        raise FacedistillError(
            f"{pairs_txt}: its first line promises {expected:,} pairs, there are {len(lines) - 1:,}"
        )
    faults = Faults(str(pairs_txt))
    images = NumberedImages(folder, faults)
    rows = [
        PairRow(number, *images.pair(split_fields(line), line, f"{pairs_txt} line {number}"))
        for number, line in lines[1:]
    ]
    faults.settle(None)
    fold = np.repeat(np.arange(folds), 2 * count)
    genuine = np.bincount(fold, weights=[row.same for row in rows]).astype(int)
    if (genuine != count).any():
        wrong = int(np.argmax(genuine != count))
        raise FacedistillError(
            f"{pairs_txt}: fold {wrong + 1} has {genuine[wrong]} pairs of one identity, not {count}"
        )
    return listed_pairs(folder, pairs_txt, rows, fold)


def has_header(path: Path) -> bool:
    """Whether a list of pairs begins with the numbers of LFW's."""
    return all(_is_number(field) for field in split_fields(numbered_lines(path)[0][1]))


def _read_header(path: Path, header: tuple[int, str]) -> tuple[int, int]:
    """Return (folds, pairs of each kind in a fold)."""
    fields = split_fields(header[1])
    if len(fields) not in (1, 2) or not all(_is_number(field) for field in fields):
        raise FacedistillError(
            f"{path} line {header[0]}: {header[1][:80]!r} is no first line of a list of pairs; "
            "give the folds and the pairs of each kind in one, like `10 300`, or only the pairs"
        )
    folds, count = (int(fields[0]) if len(fields) == 2 else 1), int(fields[-1])
    if not folds or not count:
        raise FacedistillError(f"{path} line {header[0]} promises no pairs")
    return folds, count


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdigit() and len(field) <= 9


class NumberedImages:
    """Images that lists name by an identity and a number: `NAME/NAME_0001.jpg`.

    Args:
        folder: Where the identities' folders lie.
        faults: Takes the images that are not there.
    """

    def __init__(self, folder: Path, faults: Faults) -> None:
        self.folder, self.faults = folder, faults
        self._known: dict[tuple[str, str], ListedImage] = {}

    def pair(
        self, fields: list[str], line: str, where: str
    ) -> tuple[ListedImage, ListedImage, bool]:
        """Return the two images of `name i j` or `name1 i name2 j`, and whether they are mated.

        Raises:
            FacedistillError: If the fields are neither.
        """
        if len(fields) == 3:
            left, right = (fields[0], fields[1]), (fields[0], fields[2])
        elif len(fields) != 4:
            raise FacedistillError(
                f"{where}: {line[:80]!r} is neither `name i j` nor `name1 i name2 j`"
            )
        elif fields[0] == fields[2]:
            raise FacedistillError(f"{where}: one identity in four fields; write `name i j`")
        else:
            left, right = (fields[0], fields[1]), (fields[2], fields[3])
        return self._image(*left, where), self._image(*right, where), len(fields) == 3

    def _image(self, name: str, number: str, where: str) -> ListedImage:
        if (name, number) not in self._known:
            if not _is_number(number):
                raise FacedistillError(f"{where}: {number[:80]!r} is no number of an image")
            if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
                raise FacedistillError(f"{where}: {name[:80]!r} is no identity's folder")
            path = self._find(name, int(number), where)
            self._known[name, number] = ListedImage(path, name)
        return self._known[name, number]

    def _find(self, name: str, number: int, where: str) -> str:
        # Called for thousands.
        stem = os.path.join(self.folder, name, f"{name}_{number:04d}")  # noqa: PTH118
        for suffix in IMAGE_SUFFIXES:
            if os.path.isfile(stem + suffix):  # noqa: PTH113
                return stem + suffix
        self.faults.add(
            "listed images that are not there",
            f"{where}: there is no image {stem} ({', '.join(IMAGE_SUFFIXES)})",
        )
        return ""
