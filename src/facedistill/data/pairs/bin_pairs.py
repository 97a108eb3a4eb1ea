"""Pairs of a `.bin` file, in which InsightFace packs LFW, CFP-FP, AgeDB-30 and others."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_regular
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED
from facedistill.data.pairs.closed_pickle import load_closed_pickle
from facedistill.data.pairs.pair_set import PairSet, as_names
from facedistill.data.pairs.shared_images import share_images, warn_of_repeated
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
    """Read a `.bin` file: a pickle of encoded images and of labels, pair i = images 2i and 2i + 1.

    Labels are bools, or 0 and 1. Images with the same bytes become one; for pairs that the file
    lists again see `shared_images`.

    Args:
        path: Written by any Python and any protocol, with images as bytes or uint8 arrays.

    Raises:
        FacedistillError: If the file is cut short, asks for other types (see
            `closed_pickle.load_closed_pickle`), or does not hold two images for each bool.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            _check_beginning(path, file.read(4))
            file.seek(0)
            content = load_closed_pickle(file, str(path))
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    images, same = _check_content(path, content)
    distinct = {id(image): image for image in images}
    keys = {place: content_key(bytes(image)) for place, image in distinct.items()}
    ids = [keys[id(image)] for image in images]
    shared = share_images(list(zip(ids[::2], ids[1::2], strict=True)))
    warn_of_repeated(str(path), shared, [f"pair {pair}" for pair in shared.repeated[:1]])
    entries = shared.entries
    faces = _BinImages(str(path), images, entries)
    return PairSet(
        path.name, faces, shared.pairs, np.array(same, bool), image_names=as_names(entries)
    )


def _check_beginning(path: Path, head: bytes) -> None:
    """Refuse a file that cannot be a list of images and labels by its first bytes."""
    if not head or head[:1] in (b"(", b"]") or (head[:1] == b"\x80" and head[1:2] <= b"\x05"):
        return  # Of an empty one its reader says so.
    other = "weights of a network belong into a .pt or .safetensors file, and "
    raise FacedistillError(
        f"{path} is no file of verification pairs, as InsightFace packs LFW into: "
        f"{other if head.startswith(b'PK') else ''}own pairs are given as a folder with pairs.txt, "
        "or as a list"
    )


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
    wrong = next((i for i, flag in enumerate(same) if not _is_flag(flag)), None)
    if wrong is not None:
        raise FacedistillError(
            f"{path}: the label of pair {wrong} is a {type(same[wrong]).__name__} that is neither "
            "True (1) nor False (0)"
        )
    if len(images) % 2:
        raise FacedistillError(f"{path}: {len(images):,} images, an odd number, make no pairs")
    if len(images) != 2 * len(same):
        raise FacedistillError(
            f"{path}: {len(images):,} images for {len(same):,} labels; there must be two for each"
        )
    checked: dict[int, bytes | np.ndarray] = {}
    for index, image in enumerate(images):
        if id(image) not in checked:  # One image may be referred to thousands of times.
            checked[id(image)] = _check_image(path, index, image)
    return [checked[id(image)] for image in images], [bool(flag) for flag in same]


def _is_flag(label: object) -> bool:
    return type(label) in (bool, int, float) and label in (0, 1)


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
