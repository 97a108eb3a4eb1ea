import numpy as np
import pytest

from facedistill.data.views.aligned_faces import AlignedFaces
from facedistill.runtime.alignment import similarity_transform, template, transform_points, warp
from tests.data.views.coloured_spots import SIDE, find, spots


@pytest.mark.parametrize("size", [64, 112, 160])
def test_landmarks_of_an_aligned_crop_lie_on_the_template(size):
    """With the exact points: up to what no similarity can mend, the shape of each face."""
    faces = spots()
    pixels = np.stack([faces.face(i)[1] for i in range(6)])
    aligned = AlignedFaces(faces, pixels, size)
    for index in range(6):
        moved = transform_points(pixels[index], similarity_transform(pixels[index], template(size)))
        np.testing.assert_allclose(find(aligned.crop(index)), moved, atol=0.4 * size / 112)
        again = similarity_transform(find(aligned.crop(index)), template(size))
        nothing_left = transform_points(template(size), again) - template(size)
        assert np.abs(nothing_left).max() < 0.4 * size / 112


def test_large_faces_are_shrunk_without_aliasing():
    stripes = np.zeros((1120, 1120, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = warp(stripes, template(1120), SIDE)
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 128).max() < 12
