"""Images of five coloured spots, whose places can be found again exactly."""

import numpy as np

from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.faces.landmarks import to_fractions

SIDE = 112
SPOTS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]])


class Spots(ProceduralDataset):
    """Faces that are nothing but five coloured spots at exact landmarks."""

    def face(self, index):
        landmarks = super().face(index)[1]
        return paint(landmarks, self.size), landmarks

    def __getitem__(self, index):
        image, pixels = self.face(index)
        sample = super().__getitem__(index)
        return sample._replace(image=image, landmarks=to_fractions(pixels, image.shape))


def paint(landmarks, side):
    ys, xs = np.indices((side, side))
    image = np.zeros((side, side, 3))
    for (x, y), colour in zip(landmarks, SPOTS, strict=True):
        weight = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * (side / 45) ** 2))
        image = np.maximum(image, weight[..., None] * colour)
    return np.rint(image).astype(np.uint8)


def find(image):
    """Where the five spots are, in pixels."""
    ys, xs = np.indices(image.shape[:2])
    found = []
    for colour in SPOTS:
        near = np.abs(image / max(1, image.max()) - colour / 255).sum(axis=2) < 0.9
        weight = near * image.max(axis=2).astype(np.float64) ** 2
        found.append([(xs * weight).sum() / weight.sum(), (ys * weight).sum() / weight.sum()])
    return np.array(found)


def spots(count=6):
    return Spots(count, 1, size=SIDE, difficulty=0.0, loose=1.0)
