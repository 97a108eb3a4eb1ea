"""Image files in folders, one folder per identity."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.labels import UNLABELLED

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_SLOW = 5000
"""Identities above which listing the folders shows a progress bar."""


class FolderDataset(FaceDataset):
    """The images of a folder: `root/identity/image.jpg`, or `root/image.jpg` without labels.

    Identities are numbered in the sorted order of their folders' names, images come sorted within.
    Hidden files and files of other kinds are left out.

    Args:
        root: The folder.

    Attributes:
        identity_names: Folder name of each label; empty for an unlabelled folder.
        files: Each sample's path relative to `root`.

    Raises:
        FacedistillError: If there are no images, an identity has none, images lie both beside and
            in identity folders, or a folder cannot be read.
    """

    kind = "image folder"

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.name = str(self.root)
        folders, images = _list(self.root)
        if folders and images:
            raise FacedistillError(
                f"{root}: {len(images):,} images (first {images[0]}) lie beside "
                f"{len(folders):,} identity folders (first {folders[0]}); move them into one"
            )
        if not folders and not images:
            raise FacedistillError(
                f"{root}: no images there ({', '.join(IMAGE_SUFFIXES)}), nor folders with images"
            )
        self.identity_names = folders
        self.files = images
        self.labels = np.full(len(images), UNLABELLED, np.int64)
        if folders:
            self.files, self.labels = _list_identities(self.root, folders)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file of sample `index`."""
        return read_image_file(self.root / self.files[index])

    def where(self, index: int) -> str:
        """Return the image file's path."""
        return str(self.root / self.files[index])

    def copy_name(self, index: int) -> str:
        """Return the image file's path relative to the folder, without suffix."""
        return os.path.splitext(self.files[index])[0]  # noqa: PTH122 - a name, not a path of ours


def read_image_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        FacedistillError: If the operating system does not give them.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Return the sorted names of (folders, images) in `folder`, without hidden ones."""
    folders, images = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                    images.append(entry.name)
    except OSError as error:
        raise FacedistillError(f"cannot read {folder}: {error.strerror or error}") from error
    return sorted(folders), sorted(images)


def _list_identities(root: Path, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Return every identity's images (relative to `root`) and their labels."""
    files: list[str] = []
    counts = np.zeros(len(names), np.int64)
    todo: Iterable[str] = names
    if len(names) > _SLOW:
        todo = track(names, f"listing {root.name}", total=len(names), unit="identities")
    for label, name in enumerate(todo):
        folders, images = _list(root / name)
        if not images:
            raise FacedistillError(_no_images(root, name, folders))
        files += [f"{name}/{image}" for image in images]
        counts[label] = len(images)
    return files, np.repeat(np.arange(len(names)), counts)


def _no_images(root: Path, name: str, folders: list[str]) -> str:
    if folders:
        return (
            f"{root / name}: no images, only folders ({folders[0]}, ...); identities are expected "
            f"one level below the folder you give: did you mean {root / name}?"
        )
    return f"{root / name}: the identity has no images ({', '.join(IMAGE_SUFFIXES)}); remove it"


def _open(source: str, options: FormatOptions) -> FolderDataset:
    return FolderDataset(source)


register(
    Format(
        "image_folder",
        "image folder",
        "A folder of images, one folder per identity, or flat and unlabelled.",
        recognises=lambda source: Path(source).is_dir(),
        open=_open,
        order=90,
    )
)
