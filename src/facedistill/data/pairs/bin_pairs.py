"""Pairs of a `.bin` file, in which InsightFace packs LFW, CFP-FP, AgeDB-30 and others."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED
from facedistill.data.pairs.closed_pickle import load_closed_pickle
from facedistill.data.pairs.pair_set import PairSet, as_names
from facedistill.data.sample import content_key


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
            `closed_pickle.load_closed_pickle`), or does not hold two images for each bool.
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
    return PairSet(path.name, faces, pairs, np.array(same, bool), image_names=as_names(entries))


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
        # Encoded files come as (n,), (n, 1) or (1, n); anything else is a decoded image.
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
