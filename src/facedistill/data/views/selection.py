"""A few faces that stand for a data set."""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.resized import Resized


def evenly_spread(total: int, count: int) -> np.ndarray:
    """Return int64 (min(count, total),), ascending: places at even steps through `total`."""
    count = min(count, total)
    return np.arange(count) * total // max(1, count)


def evenly_spaced(
    dataset: FaceDataset, count: int, size: int, *, skip_damaged: bool = False
) -> np.ndarray:
    """Read images at even steps through a data set, so that many identities are among them.

    Args:
        dataset: Where from.
        count: How many; all of them where the data set has fewer.
        size: Side to scale them to, pixels.
        skip_damaged: Leave out images that do not decode.

    Returns:
        uint8 RGB, (min(count, images), size, size, 3); fewer where some were left out.

    Raises:
        FacedistillError: If an image cannot be read, or none where damaged ones are left out, or
            one is not square.
    """
    faces = Resized(dataset, size)
    places = evenly_spread(len(faces), count).tolist()
    if not skip_damaged:
        return np.stack([faces[place].image for place in places])
    found = [faces.if_decodable(place) for place in places]
    images = [sample.image for sample in found if sample is not None]
    if not images:
        raise FacedistillError(f"no image of {dataset.name} decodes: there is nothing to look at")
    return np.stack(images)
