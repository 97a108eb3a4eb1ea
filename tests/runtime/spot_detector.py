"""A detector of faces of five coloured spots: it knows where it put them."""

import numpy as np

from facedistill.runtime.alignment import template
from facedistill.runtime.detection import DetectedFace
from facedistill.runtime.image_file import encode_png

SIDE = 64
"""Of a face in a photograph."""


class SpotDetector:
    """Finds squares of one colour: red is 40, 80, ... the surer the redder."""

    def detect(self, image, *, min_score, min_size):
        faces = []
        for red in np.unique(image[..., 0])[::-1]:
            rows, columns = np.nonzero(image[..., 0] == red)
            if red and red / 255 >= min_score:
                top, left = rows.min(), columns.min()
                height, width = rows.max() - top + 1, columns.max() - left + 1
                points = template(int(height)) + np.array([left, top])
                box = tuple(map(float, (left, top, width, height)))
                faces.append(DetectedFace(box, points, red / 255))
        return faces

    def refine(self, image, face):
        return face


def photo(*squares, shape=(200, 300)):
    """A photograph as a PNG file; squares are (left, top, side, red)."""
    image = np.zeros((*shape, 3), np.uint8)
    for left, top, side, red in squares:
        image[top : top + side, left : left + side] = (red, 90, 30)
    return encode_png(image)
