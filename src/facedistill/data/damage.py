"""Damaged images: found all at once, named all at once, left out where that is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED, Subset
from facedistill.data.loading.reading import read_in_order
from facedistill.runtime.image_file import DamagedImage


def find_damaged(dataset: FaceDataset, workers: int = 0) -> dict[int, str]:
    """Decode every image of a data set.

    Args:
        dataset: The images.
        workers: Processes that decode; 0 does it in this one.

    Returns:
        By index of each image that cannot be used, the message why.
    """
    damaged = {}
    with closing(read_in_order(_Decode(dataset), range(len(dataset)), workers)) as images:
        checked = track(images, f"checking {dataset.name}", len(dataset), "images")
        for index, error in enumerate(checked):
            if isinstance(error, FacedistillError):
                damaged[index] = str(error)
    return damaged


def require_undamaged(dataset: FaceDataset, workers: int = 0) -> None:
    """Refuse a data set with damaged images, naming each.

    Raises:
        FacedistillError: If there are any; its details are a line for each.
    """
    damaged = find_damaged(dataset, workers)
    if damaged:
        raise damaged_images(dataset.name, list(damaged.values()), len(dataset))


def damaged_images(name: str, messages: list[str], count: int) -> FacedistillError:
    """Return the error that names damaged images, `messages` among `count` that were read."""
    if len(messages) == 1:
        return FacedistillError(f"{messages[0]}, or leave it out with --skip (data.on_error: skip)")
    return FacedistillError(
        f"{name}: {len(messages):,} of {count:,} images are damaged: replace or remove them, or "
        "leave them out with --skip (in a recipe data.on_error: skip)",
        details=messages,
    )


def without_damaged(dataset: FaceDataset, workers: int = 0) -> FaceDataset:
    """Return a data set without its damaged images, each named in a warning.

    Identities of which no image is left are left out too, the others numbered anew.

    Args:
        dataset: The images; every one is decoded once.
        workers: Processes that decode.

    Raises:
        FacedistillError: If no image is left.
    """
    damaged = find_damaged(dataset, workers)
    if not damaged:
        return dataset
    if len(damaged) == len(dataset):
        raise damaged_images(dataset.name, list(damaged.values()), len(dataset))
    for message in damaged.values():
        warnings.warn(f"left out: {message}", stacklevel=2)
    kept = np.setdiff1d(np.arange(len(dataset)), list(damaged))
    lost = len(np.unique(dataset.labels)) - len(np.unique(dataset.labels[kept]))
    if lost and (dataset.labels != UNLABELLED).any():
        warnings.warn(
            f"{dataset.name}: {lost:,} identities have no image left; the others are numbered anew",
            stacklevel=2,
        )
    return Subset(dataset, kept)


@contextmanager
def naming_all_damaged(dataset: FaceDataset, workers: int = 0) -> Iterator[None]:
    """Where the block fails at a damaged image, look for all others and name them too.

    Raises:
        FacedistillError: See `require_undamaged`.
    """
    try:
        yield
    except DamagedImage:
        require_undamaged(dataset, workers)
        raise


class _Decode:
    """Decodes image `index` and gives nothing, so that no pixels come from workers."""

    def __init__(self, dataset: FaceDataset) -> None:
        self.dataset = dataset

    def __call__(self, index: int) -> None:
        _ = self.dataset[index]
