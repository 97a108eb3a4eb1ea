"""A data set of encoded images in memory."""

import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.runtime.image_file import encode_png


class ImagesInMemory(FaceDataset):
    """Encoded images in memory; `broken` ones do not decode."""

    def __init__(self, shapes, broken=()):
        self.name = "images"
        self.labels = np.arange(len(shapes), dtype=np.int64) // 2
        rng = np.random.default_rng(0)
        self.images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
        self.broken = broken

    def encoded(self, index):
        return b"no image" if index in self.broken else encode_png(self.images[index])

    def where(self, index):
        return f"entry {index}"


def images_in_memory(count=20, side=8, broken=()):
    return ImagesInMemory([(side, side)] * count, broken)
