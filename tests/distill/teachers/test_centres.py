import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.distill.teachers.centres import class_centres, first_of_each
from tests.distill.conftest import embed
from tests.distill.teachers.by_hand import Corrupt, Raw


def test_class_centres_are_normalised_means(tmp_path, faces):
    centres = class_centres(Raw(), faces, tmp_path / "strong.onnx")
    for identity in range(3):
        rows = embed(np.stack([faces[i].image for i in np.flatnonzero(faces.labels == identity)]))
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(centres[identity], mean / np.linalg.norm(mean), atol=1e-6)
    assert next(tmp_path.iterdir()).name.startswith("strong-centres-")


def test_the_first_images_of_each_identity_make_its_centre():
    labels = np.array([2, 0, 2, 2, -1, 0, 1, 2])
    assert first_of_each(labels, 2).tolist() == [0, 1, 2, 5, 6]
    assert first_of_each(labels, 9).tolist() == [0, 1, 2, 3, 5, 6, 7]


def test_an_identity_without_an_image_is_named(tmp_path):
    with pytest.raises(FacedistillError, match="identity 0 of faces has no mean embedding by raw"):
        class_centres(Raw(), Corrupt(range(3), labels=[0, 1, 1]), tmp_path / "strong.onnx")
