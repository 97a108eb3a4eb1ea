"""Pairs in the layout of Labeled Faces in the Wild: folders of images and a `pairs.txt`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.image_file import read_image_file
from facedistill.data.formats.image_list import read_lines
from facedistill.data.pairs.pair_drawing import FOLDS, tenths
from facedistill.data.pairs.pair_set import PairSet

PAIRS_FILE = "pairs.txt"

LFW_SUFFIXES = (".jpg", ".png", ".jpeg")


class _LfwImages(FaceDataset):
    """Image files `NAME/NAME_0001.jpg` that a list of pairs names."""

    def __init__(self, folder: Path, paths: list[Path], labels: list[int]) -> None:
        self.name = str(folder)
        self.paths = paths
        self.labels = np.array(labels, np.int64)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of image file `index`."""
        return read_image_file(self.paths[index])

    def where(self, index: int) -> str:
        """Return the image file's path."""
        return str(self.paths[index])


def read_lfw(folder: str | Path, pairs_txt: str | Path) -> PairSet:
    """Read pairs in the layout of Labeled Faces in the Wild.

    The list's first line gives the number of folds K and of pairs n (`10 300`), or only n; then
    come, for each fold, n lines `name i j` (mated pairs) and n lines `name1 i name2 j` (impostor
    pairs). Image i of an identity is `folder/name/name_000i.jpg` (or .png, .jpeg). A list of
    one fold is cut into ten, each with a tenth of either kind.

    Args:
        folder: Where the identities' folders lie.
        pairs_txt: The list, UTF-8, its fields separated by tabs or blanks.

    Raises:
        FacedistillError: If the list does not keep to the layout or names an image that is not
            there; the message gives the line.
    """
    folder, pairs_txt = Path(folder), Path(pairs_txt)
    lines = _read_lines(pairs_txt)
    folds, count = _read_header(pairs_txt, lines[0])
    expected = 2 * folds * count
    if len(lines) - 1 != expected:
        raise FacedistillError(
            f"{pairs_txt}: its first line promises {expected:,} pairs, there are {len(lines) - 1:,}"
        )
    rows: dict[tuple[str, int], int] = {}
    identities: dict[str, int] = {}
    paths: list[Path] = []
    labels: list[int] = []
    pairs = np.empty((expected, 2), np.int64)
    for pair, (number, line) in enumerate(lines[1:]):
        for side, (name, image) in enumerate(_read_pair(f"{pairs_txt} line {number}", line)):
            if (name, image) not in rows:
                rows[name, image] = len(paths)
                paths.append(_find_image(folder, name, image, f"{pairs_txt} line {number}"))
                labels.append(identities.setdefault(name, len(identities)))
            pairs[pair, side] = rows[name, image]
    faces = _LfwImages(folder, paths, labels)
    same = faces.labels[pairs[:, 0]] == faces.labels[pairs[:, 1]]
    fold = np.repeat(np.arange(folds), 2 * count)
    genuine = np.bincount(fold, weights=same).astype(int)
    if (genuine != count).any():
        wrong = int(np.argmax(genuine != count))
        raise FacedistillError(
            f"{pairs_txt}: fold {wrong + 1} has {genuine[wrong]} pairs of one identity, not {count}"
        )
    return PairSet(
        str(folder),
        faces,
        pairs,
        same,
        _lfw_folds(fold, same),
        image_names=[path.relative_to(folder).as_posix() for path in paths],
        identity_names=[name for name, _ in rows],
    )


def _read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not empty, with their numbers."""
    lines = [(n, line.strip()) for n, line in enumerate(read_lines(path), start=1) if line.strip()]
    if not lines:
        raise FacedistillError(f"{path} is empty: its first line must be like `10 300`")
    return lines


def _read_header(path: Path, header: tuple[int, str]) -> tuple[int, int]:
    """Return (folds, pairs of each kind in a fold)."""
    fields = header[1].split()
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


def _read_pair(where: str, line: str) -> list[tuple[str, int]]:
    """Return the two images of a line as (identity, number)."""
    fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
    if len(fields) == 3:
        fields = [fields[0], fields[1], fields[0], fields[2]]
    elif len(fields) != 4:
        raise FacedistillError(
            f"{where}: {line[:80]!r} is neither `name i j` nor `name1 i name2 j`"
        )
    elif fields[0] == fields[2]:
        raise FacedistillError(f"{where}: one identity in four fields; write `name i j`")
    for name, number in (fields[:2], fields[2:]):
        if not _is_number(number):
            raise FacedistillError(f"{where}: {number[:80]!r} is no number of an image")
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise FacedistillError(f"{where}: {name[:80]!r} is no identity's folder")
    return [(fields[0], int(fields[1])), (fields[2], int(fields[3]))]


def _find_image(folder: Path, name: str, number: int, where: str) -> Path:
    stem = os.path.join(folder, name, f"{name}_{number:04d}")  # noqa: PTH118 (called for thousands)
    for suffix in LFW_SUFFIXES:
        if os.path.isfile(stem + suffix):  # noqa: PTH113
            return Path(stem + suffix)
    raise FacedistillError(f"{where}: there is no image {stem} ({', '.join(LFW_SUFFIXES)})")


def _lfw_folds(fold: np.ndarray, same: np.ndarray) -> np.ndarray | None:
    """Return each pair's fold; the single fold of a list without folds is cut into ten."""
    if fold[-1]:
        return fold
    if len(same) < 2 * FOLDS:
        return None
    for kind in (same, ~same):
        fold[kind] = tenths(int(kind.sum()))
    return fold
