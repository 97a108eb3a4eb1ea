import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.views.resized import Resized
from tests.data.images_in_memory import ImagesInMemory


def test_resizing_shrinks_by_area_enlarges_smoothly_and_keeps_keys():
    faces = ImagesInMemory([(8, 8), (16, 16), (4, 4)])
    resized = Resized(faces, 8)
    np.testing.assert_array_equal(resized[0].image, faces.images[0])
    means = faces.images[1].reshape(8, 2, 8, 2, 3).mean((1, 3))
    np.testing.assert_allclose(resized[1].image, means, atol=0.51)
    smooth = cv2.resize(faces.images[2], (8, 8), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resized[2].image, smooth)
    assert [resized.key(i) for i in range(3)] == [faces.key(i) for i in range(3)]
    assert [resized[i].key for i in range(3)] == [faces.key(i) for i in range(3)]


def test_resizing_refuses_to_distort():
    with pytest.raises(FacedistillError, match="entry 0 is 8 x 9"):
        Resized(ImagesInMemory([(9, 8)]), 8)[0]
