import numpy as np
import pytest

from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.landmark_dataset import LandmarkDataset
from facedistill.data.labels import Subset
from facedistill.data.open import open_dataset
from facedistill.experiments.measurement import fingerprint, truth_of
from tests.data.formats.landmark_files import CROP, write_images


@pytest.mark.parametrize("view", [lambda faces: faces, lambda faces: Subset(faces, range(150))])
def test_a_corrected_landmark_anywhere_is_another_test(tmp_path, view):
    write_images(tmp_path, ["1.png"])
    files = [str(tmp_path / "1.png")] * 200
    points = np.repeat(CROP[None], 200, axis=0)

    def marked(points) -> FaceDataset:
        return view(LandmarkDataset("list", files, points, [""] * 200))

    known = fingerprint(marked(points), None)
    assert fingerprint(marked(points.copy()), None) == known
    for index in range(100, 110):
        corrected = points.copy()
        corrected[index, 0, 0] += 0.5
        assert fingerprint(marked(corrected), None) != known


def test_labelled_faces_are_resampled_by_identity():
    truth = truth_of(open_dataset("procedural:identities=2,images=3,size=16,loose=1"))
    assert truth.identities.tolist() == [[0, 0]] * 3 + [[1, 1]] * 3
