"""Image files in folders, one folder per identity."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.faults import Faults
from facedistill.data.labels import UNLABELLED
from facedistill.runtime.image_file import IMAGE_SUFFIXES, read_image_file

_SLOW = 5000
"""Identities above which listing the folders shows a progress bar."""
_DEEPEST = 16
"""How many folders are entered below an identity's."""


class FolderDataset(FaceDataset):
    """The images of a folder: `root/identity/image.jpg`, or `root/image.jpg` without labels.

    Identities are numbered in the sorted order of their folders' names, images come sorted within.
    Images in folders below an identity's are the identity's too, with a warning, where some
    identity has images in its own folder. What is left out, files of other kinds and linked
    folders below an identity's, is counted in a warning; hidden files and folders are not.

    Args:
        root: The folder.
        skip: Leave out, with a warning, identities without images, and images that lie beside
            folders of identities.

    Attributes:
        identity_names: Folder name of each label; empty for an unlabelled folder.
        files: Each sample's path relative to `root`.

    Raises:
        FacedistillError: If there are no images, an identity has none, images lie both beside and
            in identity folders, each named; or a folder cannot be read.
    """

    kind = "image folder"
    stored = True

    def __init__(self, root: str | Path, *, skip: bool = False) -> None:
        self.root = Path(root)
        self.name = str(self.root)
        top = _list(self.root)
        if not top.folders and not top.images:
            raise FacedistillError(
                f"{root}: no images there ({', '.join(IMAGE_SUFFIXES)}), nor folders with images"
                f"{_others(top.others)}"
            )
        self.identity_names = top.folders
        self.files = top.images
        self.labels = np.full(len(top.images), UNLABELLED, np.int64)
        if top.folders:
            faults = Faults(self.name)
            for image in top.images:
                faults.add(
                    "images beside the identities' folders",
                    f"{self.root / image}: the image lies beside folders of identities; move it "
                    "into one",
                )
            images = _list_identities(self.root, top, faults)
            faults.settle(skip)
            self.identity_names = list(images)
            self.files = [file for each in images.values() for file in each]
            counts = [len(each) for each in images.values()]
            self.labels = np.repeat(np.arange(len(counts)), counts)
        if top.others:
            warnings.warn(f"{root}{_others(top.others)}", stacklevel=2)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file of sample `index`."""
        return read_image_file(self.root / self.files[index])

    def where(self, index: int) -> str:
        """Return the image file's path."""
        return str(self.root / self.files[index])

    def file_name(self, index: int) -> str:
        """Return the image file's path relative to the folder."""
        return self.files[index]

    def copy_name(self, index: int) -> str:
        """Return the image file's path relative to the folder, without suffix."""
        return os.path.splitext(self.files[index])[0]  # noqa: PTH122 - a name, not a path of ours


class _Listing(NamedTuple):
    """What a folder holds, without hidden files and folders.

    Attributes:
        folders: Names of folders, sorted.
        images: Names of image files, sorted.
        others: How many files of other kinds, by suffix.
    """

    folders: list[str]
    images: list[str]
    others: Counter[str]


def _list(folder: Path, *, linked: bool = True) -> _Listing:
    """List a folder; without `linked`, links to folders count as other files."""
    found = _Listing([], [], Counter())
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if linked or not entry.is_symlink():
                        found.folders.append(entry.name)
                    else:
                        found.others["linked folder"] += 1
                elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                    found.images.append(entry.name)
                else:
                    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
                    found.others[suffix or "file without suffix"] += 1
    except OSError as error:
        raise FacedistillError(f"cannot read {folder}: {error.strerror or error}") from error
    found.folders.sort()
    found.images.sort()
    return found


def _list_identities(root: Path, top: _Listing, faults: Faults) -> dict[str, list[str]]:
    """Return the images (relative to `root`) of every identity that has some, by its name.

    Args:
        root: The folder of the identities' folders.
        top: What it holds; its `others` take the number of files of other kinds in folders.
        faults: Takes the identities without images.

    Raises:
        FacedistillError: If no identity has images.
    """
    names, others = top.folders, top.others
    todo: Iterable[str] = names
    if len(names) > _SLOW:
        todo = track(names, f"listing {root.name}", total=len(names), unit="identities")
    images: list[list[str]] = []
    below: list[tuple[int, str]] = []
    for label, name in enumerate(todo):
        listing = _list(root / name, linked=False)
        others += listing.others
        images.append([f"{name}/{image}" for image in listing.images])
        below += [(label, f"{name}/{folder}") for folder in listing.folders]
    if any(images):
        _add_below(root, below, images, others)
    if not any(images):
        folders = [folder for place, folder in below if place == 0]
        beside = f"; images lie beside it, first {top.images[0]}" if top.images else ""
        raise FacedistillError(_no_images(root, names[0], folders) + beside)
    for name, own in zip(names, images, strict=True):
        if not own:
            faults.add("identities without images", _no_images(root, name, []))
    return {name: own for name, own in zip(names, images, strict=True) if own}


def _add_below(
    root: Path, below: list[tuple[int, str]], images: list[list[str]], others: Counter[str]
) -> None:
    """Add the images in folders below the identities', which are (label, folder)."""
    found: list[str] = []
    count = 0
    rest = below
    for _ in range(_DEEPEST):
        deeper: list[tuple[int, str]] = []
        for label, folder in rest:
            listing = _list(root / folder, linked=False)
            others += listing.others
            images[label] += [f"{folder}/{image}" for image in listing.images]
            deeper += [(label, f"{folder}/{name}") for name in listing.folders]
            if listing.images:
                found.append(folder)
                count += len(listing.images)
        rest = deeper
    if rest:
        raise FacedistillError(f"{root / rest[0][1]}: folders in folders, too deep to be read")
    if found:
        warnings.warn(
            f"{root}: {count:,} images in {len(found):,} folders below the identities' (first "
            f"{found[0]}) are taken as theirs",
            stacklevel=4,
        )


def _others(others: Counter[str]) -> str:
    """Return what is said of files of other kinds; nothing where there are none."""
    if not others:
        return ""
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in others.most_common(8))
    more = ", ..." if len(others) > 8 else ""
    return (
        f": {others.total():,} files left out ({kinds}{more}); images are "
        f"{', '.join(IMAGE_SUFFIXES)}: convert photos of other formats"
    )


def _no_images(root: Path, name: str, folders: list[str]) -> str:
    if folders:
        return (
            f"{root / name}: no images, only folders ({folders[0].split('/')[-1]}, ...); "
            "identities are expected one level below the folder you give: did you mean "
            f"{root / name}?"
        )
    return f"{root / name}: the identity has no images ({', '.join(IMAGE_SUFFIXES)}); remove it"


def _open(source: str, options: FormatOptions) -> FolderDataset:
    return FolderDataset(source, skip=options.skip)


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
