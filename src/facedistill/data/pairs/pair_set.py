"""Pairs of faces for verification: are the two the same person?

Three sources give the same `PairSet`: `.bin` files (InsightFace's packed LFW, CFP-FP, AgeDB-30 and
others), folders with a `pairs.txt` (LFW's own layout), and any labelled data set, from which pairs
are drawn. An image that several pairs show is held, and later embedded, once.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError, naming
from facedistill.data.formats.image_folder import read_image_file
from facedistill.data.formats.image_list import read_lines
from facedistill.data.formats.procedural import PREFIX, parse_procedural
from facedistill.data.formats.unpickling import load_closed_pickle
from facedistill.data.labels import UNLABELLED, Subset
from facedistill.data.pairs.pair_drawing import DEFAULT_PAIRS, FOLDS, make_pairs, most_pairs, tenths
from facedistill.data.sample import FaceDataset, content_key

PAIRS_FILE = "pairs.txt"
LFW_SUFFIXES = (".jpg", ".png", ".jpeg")


class PairSet:
    """Pairs of images, and whether each shows one person.

    Args:
        name: What to call it in messages and reports.
        faces: The images; index i of `pairs` is its sample i. Its labels, where known, are the
            identities.
        pairs: Integers (P, 2), indices into the images.
        same: Bools (P,).
        folds: Integers (P,), each pair's fold 0..K-1; None for contiguous tenths.
        image_names: What each image is called in tables about images; by default its number.
        identity_names: What each image's person is called; by default the label's number.

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
        self.image_names = _names(range(len(faces)) if image_names is None else image_names)
        known = (faces.labels != UNLABELLED).any()
        people = faces.labels.tolist() if identity_names is None and known else identity_names
        self.identity_names = None if people is None else _names(people)
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
            count: Number of pairs, half of them of one person.
            seed: Which pairs.

        Raises:
            FacedistillError: If the data set cannot give as many pairs.
        """
        with naming(faces.name):
            pairs, same = make_pairs(faces.labels, count, seed)
        used, rows = np.unique(pairs, return_inverse=True)
        folds = tenths(count) if count >= FOLDS else None
        return cls(faces.name, Subset(faces, used), rows.reshape(-1, 2), same, folds)

    def __len__(self) -> int:
        """Return the number of distinct images."""
        return len(self.faces)

    @property
    def identities(self) -> np.ndarray | None:
        """Each image's person, int64 (N,), -1 where unknown; None if all are unknown."""
        labels = self.faces.labels
        return None if (labels == UNLABELLED).all() else labels

    def image(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 RGB (H, W, 3).

        Raises:
            FacedistillError: If it does not decode; the message names its place.
        """
        return self.faces[index].image


def _names(values: Iterable[object]) -> list[str]:
    return [str(value) for value in values]


def open_pairs(source: str | Path, *, count: int | None = None, seed: int = 0) -> PairSet:
    """Open whatever holds pairs.

    Args:
        source: A `.bin` file, a folder that holds `pairs.txt`, `FOLDER:LIST` with a list in LFW's
            layout (looked for beside you, then in the folder), or a specification such as
            `procedural:identities=100,images=10,seed=1,size=112`.
        count: Number of pairs to draw where they are drawn; by default 6,000, or as many as the
            faces give.
        seed: Which pairs are drawn.

    Raises:
        FacedistillError: If there is nothing there, it is something else or it is damaged.
    """
    text = str(source)
    if text.startswith(PREFIX):
        faces = parse_procedural(text)
        return PairSet.from_dataset(
            faces, count or min(DEFAULT_PAIRS, most_pairs(faces.labels)), seed
        )
    path = Path(source)
    if path.is_dir():
        return read_lfw(path, path / PAIRS_FILE)
    if path.suffix.lower() == ".bin":
        return read_bin(path)
    folder, _, listed = text.rpartition(":")
    if folder and Path(folder).is_dir():
        beside = Path(listed)
        return read_lfw(folder, beside if beside.is_file() else Path(folder, listed))
    kind = "does not hold pairs" if path.exists() else "no such file or folder"
    raise FacedistillError(
        f"{source}: {kind}; give a .bin file, a folder with {PAIRS_FILE}, FOLDER:{PAIRS_FILE} or "
        f"{PREFIX}identities=100,images=10"
    )


# .bin files


class _BinImages(FaceDataset):
    """Images of a `.bin` file, held encoded in memory."""

    def __init__(self, name: str, images: Sequence[bytes | np.ndarray], entries: list[int]) -> None:
        self.name = name
        self.images = images
        self.entries = entries
        self.labels = np.full(len(entries), UNLABELLED, np.int64)

    def encoded(self, index: int) -> bytes:
        """Return the encoded image `index`."""
        return bytes(self.images[self.entries[index]])

    def where(self, index: int) -> str:
        """Return the file and the entry in it."""
        return f"{self.name} image {self.entries[index]}"


def read_bin(path: str | Path) -> PairSet:
    """Read a `.bin` file: a pickle of encoded images and of bools, pair i = images 2i and 2i + 1.

    Images with the same bytes become one. A pair that the file lists again, or that shows one image
    twice, is kept with images of its own, so that a published list is measured as published; a
    warning says how many there are.

    Args:
        path: Written by any Python and any protocol, with images as bytes or uint8 arrays.

    Raises:
        FacedistillError: If the file is cut short, asks for other types (see
            `unpickling.load_closed_pickle`), or does not hold two images for each bool.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = load_closed_pickle(file, str(path))
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    images, same = _check_content(path, content)
    pairs, entries, repeated = _share_images([content_key(bytes(image)) for image in images])
    if repeated:
        warnings.warn(
            f"{path}: {repeated:,} of {len(same):,} pairs repeat an earlier one or show one image "
            "twice; they are measured as listed",
            stacklevel=2,
        )
    faces = _BinImages(str(path), images, entries)
    return PairSet(path.name, faces, pairs, np.array(same, bool), image_names=_names(entries))


def _check_content(path: Path, content: object) -> tuple[list[bytes | np.ndarray], list[bool]]:
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise FacedistillError(
            f"{path} is no set of pairs: it must hold (images, same) and nothing else"
        )
    images, same = content
    if isinstance(same, np.ndarray):
        same = same.tolist()
    if not isinstance(images, list | tuple) or not isinstance(same, list | tuple):
        raise FacedistillError(f"{path} is no set of pairs: images and same must be lists")
    wrong = next((i for i, flag in enumerate(same) if type(flag) is not bool), None)
    if wrong is not None:
        raise FacedistillError(
            f"{path}: the label of pair {wrong} is a {type(same[wrong]).__name__}, not a bool"
        )
    if len(images) % 2:
        raise FacedistillError(f"{path}: {len(images):,} images, an odd number, make no pairs")
    if len(images) != 2 * len(same):
        raise FacedistillError(
            f"{path}: {len(images):,} images for {len(same):,} labels; there must be two for each"
        )
    return [_check_image(path, index, image) for index, image in enumerate(images)], list(same)


def _check_image(path: Path, index: int, image: object) -> bytes | np.ndarray:
    if isinstance(image, np.ndarray):
        # Encoded files come as (n,), (n, 1) or (1, n); anything else is a picture.
        if image.dtype != np.uint8 or max(image.shape, default=0) != image.size:
            raise FacedistillError(
                f"{path}: image {index} is an array of {image.dtype} {image.shape}, "
                "not the bytes of an image file"
            )
        image = image.reshape(-1)
    elif not isinstance(image, bytes):
        raise FacedistillError(
            f"{path}: image {index} is a {type(image).__name__}, neither bytes nor an array"
        )
    if not len(image):
        raise FacedistillError(f"{path}: image {index} has no bytes")
    return image


def _share_images(keys: list[bytes]) -> tuple[np.ndarray, list[int], int]:
    """Return pairs of distinct images, the entry where each image lies, and how many pairs repeat.

    A repeated pair keeps images of its own: as indices, no pair comes twice.
    """
    rows: dict[bytes, int] = {}
    entries: list[int] = []
    pairs = np.empty((len(keys) // 2, 2), np.int64)
    seen: set[frozenset[bytes]] = set()
    repeated = 0
    for pair in range(len(pairs)):
        left, right = keys[2 * pair : 2 * pair + 2]
        repeats = left == right or frozenset((left, right)) in seen
        repeated += repeats
        seen.add(frozenset((left, right)))
        for side, key in enumerate((left, right)):
            if repeats or key not in rows:
                rows.setdefault(key, len(entries))
                pairs[pair, side] = len(entries)
                entries.append(2 * pair + side)
            else:
                pairs[pair, side] = rows[key]
    return pairs, entries, repeated


def write_bin(pairset: PairSet, path: str | Path) -> None:
    """Write pairs as a `.bin` file (pickle protocol 4, bytes) that InsightFace reads too.

    Identities and folds have no place in the format; keep the pairs in order of their folds.

    Args:
        pairset: The pairs.
        path: The file to write.

    Raises:
        FacedistillError: If an image cannot be read or the file not be written.
    """
    # One object for each image, so that the pickle holds it once.
    images = [pairset.faces.encoded(index) for index in range(len(pairset))]
    content = ([images[index] for index in pairset.pairs.flat], pairset.same.tolist())
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pickle.dump(content, file, protocol=4)


# LFW's layout


class _LfwImages(FaceDataset):
    """Image files `person/person_0001.jpg` that a list of pairs names."""

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
    come, for each fold, n lines `name i j` (two images of one person) and n lines `name1 i name2 j`
    (two people). Image i of a person is `folder/name/name_000i.jpg` (or .png, .jpeg). A list of
    one fold is cut into ten, each with a tenth of either kind.

    Args:
        folder: Where the people's folders lie.
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
    people: dict[str, int] = {}
    paths: list[Path] = []
    labels: list[int] = []
    pairs = np.empty((expected, 2), np.int64)
    for pair, (number, line) in enumerate(lines[1:]):
        for side, (name, image) in enumerate(_read_pair(f"{pairs_txt} line {number}", line)):
            if (name, image) not in rows:
                rows[name, image] = len(paths)
                paths.append(_find_image(folder, name, image, f"{pairs_txt} line {number}"))
                labels.append(people.setdefault(name, len(people)))
            pairs[pair, side] = rows[name, image]
    faces = _LfwImages(folder, paths, labels)
    same = faces.labels[pairs[:, 0]] == faces.labels[pairs[:, 1]]
    fold = np.repeat(np.arange(folds), 2 * count)
    genuine = np.bincount(fold, weights=same).astype(int)
    if (genuine != count).any():
        wrong = int(np.argmax(genuine != count))
        raise FacedistillError(
            f"{pairs_txt}: fold {wrong + 1} has {genuine[wrong]} pairs of one person, not {count}"
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
    """Return the two images of a line as (person, number)."""
    fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
    if len(fields) == 3:
        fields = [fields[0], fields[1], fields[0], fields[2]]
    elif len(fields) != 4:
        raise FacedistillError(
            f"{where}: {line[:80]!r} is neither `name i j` nor `name1 i name2 j`"
        )
    elif fields[0] == fields[2]:
        raise FacedistillError(f"{where}: one person in four fields; write `name i j`")
    for name, number in (fields[:2], fields[2:]):
        if not _is_number(number):
            raise FacedistillError(f"{where}: {number[:80]!r} is no number of an image")
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise FacedistillError(f"{where}: {name[:80]!r} is no person's folder")
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
