"""A few faces that stand for a data set."""

from __future__ import annotations

import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.data.views.resized import Resized


def evenly_spaced(dataset: FaceDataset, count: int, size: int) -> np.ndarray:
    """Read images at even steps through a data set, so that many identities are among them.

    Args:
        dataset: Where from.
        count: How many; all of them where the data set has fewer.
        size: Side to scale them to, pixels.

    Returns:
        uint8 RGB, (min(count, images), size, size, 3).

    Raises:
        FacedistillError: If an image cannot be read or is not square.
    """
    faces = Resized(dataset, size)
    count = min(count, len(faces))
    places = np.arange(count) * len(faces) // count
    return np.stack([faces[int(place)].image for place in places])
