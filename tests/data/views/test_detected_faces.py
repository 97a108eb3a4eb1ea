import numpy as np
import pytest

from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.views.detected_faces import DetectedFaces
from tests.runtime.spot_detector import SpotDetector, photo


@pytest.fixture
def photos(tmp_path):
    for name, squares in {
        "ann/1": [(10, 20, 100, 200)],
        "ann/2": [(150, 60, 90, 220), (10, 20, 60, 250)],
        "bob/1": [],
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(photo(*squares))
    return FolderDataset(tmp_path)


def test_photos_are_read_as_their_largest_faces_and_what_is_missed_is_known(photos):
    faces = DetectedFaces(photos, SpotDetector(), 64)
    assert faces.said() == []
    for index, red in enumerate((200, 220)):
        sample = faces[index]
        assert sample.image.shape == (64, 64, 3)
        assert abs(sample.image[12:52, 12:52, 0].mean() - red) < 2
        assert (sample.label, sample.key) == (0, photos.key(index))
    assert faces[2].image.shape == (64, 64, 3)
    assert not faces[2].image.any()
    missed, several = faces.said()
    assert "no face is found in 1 photos" in missed
    assert "bob/1.png" in missed
    assert "1 photos have several faces" in several
    assert np.array_equal(faces.labels, photos.labels)
