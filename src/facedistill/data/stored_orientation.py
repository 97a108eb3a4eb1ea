"""Images that are read as they are stored, though their EXIF tag asks to turn them."""

from __future__ import annotations

import warnings

from facedistill.data.dataset import FaceDataset
from facedistill.data.views.selection import evenly_spread
from facedistill.runtime.image_file import DamagedImage, header_of

MOST = 64
"""Images looked at, spread evenly: cameras write the tag into all photos or many."""


def warn_of_turned(dataset: FaceDataset) -> None:
    """Warn where images have an EXIF orientation, by which crops are not turned.

    Args:
        dataset: Faces that are about to be trained on or measured on.
    """
    if dataset.kind == "procedural faces":
        return
    indices = evenly_spread(len(dataset), MOST)
    turned = 0
    for index in indices.tolist():
        try:
            turned += header_of(dataset.encoded(index), dataset.where(index)).orientation != 1
        except DamagedImage:
            continue  # Decoding it says so.
    if turned:
        warn_of(dataset.name, turned, len(indices))


def warn_of(name: str, turned: int, count: int) -> None:
    """Warn that `turned` of `count` images that were looked at are not read upright."""
    warnings.warn(
        f"{name}: {turned:,} of {count:,} images have an EXIF orientation and are read as they are "
        "stored; `facedistill prepare --pack` turns them",
        stacklevel=3,
    )
