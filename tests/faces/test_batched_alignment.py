import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.faces.batched_alignment import align_batch
from facedistill.runtime.alignment import ARCFACE_TEMPLATE, align


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (80 + i, 120, 3), dtype=np.uint8) for i in range(3)]
    landmarks = ARCFACE_TEMPLATE + rng.normal(0, 5, size=(3, 5, 2))
    crops = align_batch(images, landmarks, 32)
    for crop, image, points in zip(crops, images, landmarks, strict=True):
        np.testing.assert_array_equal(crop, align(image, points, 32))
    assert align_batch([], np.empty((0, 5, 2)), 32).shape == (0, 32, 32, 3)
    with pytest.raises(FacedistillError, match="2 images but landmarks of 3"):
        align_batch(images[:2], landmarks)
