from dataclasses import replace

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.views.upright import Upright
from facedistill.experiments.photos.found_faces import Choice, FaceFinder, FaceOptions
from facedistill.runtime.face_limits import sharpness
from facedistill.runtime.image_file import decode_image
from tests.runtime.spot_detector import SpotDetector, photo

LARGE, SURE, SMALL = (10, 20, 100, 200), (130, 70, 60, 240), (250, 10, 30, 220)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "three.png").write_bytes(photo(LARGE, SURE, SMALL))
    (tmp_path / "none.png").write_bytes(photo())
    (tmp_path / "broken.png").write_bytes(photo(LARGE)[:-20])
    return Upright(FolderDataset(tmp_path))  # broken, none, three


def found(photos, index=2, **options):
    finder = FaceFinder(photos, ["b", "n", "t"], SpotDetector(), FaceOptions(**options))
    return finder(index)


def test_all_faces_of_a_photo_and_why_the_small_one_is_not_taken(photos):
    rows, crops = found(photos)
    assert [row.face for row in rows] == [1, 2, 3]
    assert [row.crop for row in rows] == ["t-1", "", "t-3"]
    assert [row.dropped for row in rows] == ["", "smaller than 40 pixels: 30", ""]
    assert sorted(crops) == ["t-1", "t-3"]
    assert rows[2].box == [10, 20, 100, 100]
    crop = decode_image(crops["t-3"], "crop")
    assert crop.shape == (112, 112, 3)
    np.testing.assert_allclose(crop[20:90, 20:90].mean(axis=(0, 1)), (200, 90, 30), atol=2)


@pytest.mark.parametrize(
    ("choice", "taken", "reason"),
    [(Choice.LARGEST, 3, "not the largest face"), (Choice.CENTRAL, 1, "not the most central face")],
)
def test_one_face_of_a_photo(photos, choice, taken, reason):
    rows, crops = found(photos, choice=choice)
    assert [row.face for row in rows if row.crop] == [taken]
    assert list(crops) == ["t"]
    (other,) = {1, 3} - {taken}
    assert rows[other - 1].dropped == reason


def test_limits_drop_with_their_figures(photos):
    rows, crops = found(photos, min_score=0.9, min_size=10)
    assert [row.dropped for row in rows] == [
        "",
        "score below 0.9: 0.86",
        "score below 0.9: 0.78",
    ]
    rows, crops = found(photos, min_sharpness=1e6, choice=Choice.LARGEST)
    assert rows[2].reason == "sharpness below 1e+06"
    assert not crops


class Turned(SpotDetector):
    """Every nose lies to the right, by a third of the distance of the eyes."""

    def refine(self, image, face):
        landmarks = face.landmarks.copy()
        landmarks[2, 0] += (landmarks[1, 0] - landmarks[0, 0]) / 3
        return replace(face, landmarks=landmarks)


def test_heads_that_are_turned_are_dropped(photos):
    for limit, taken in ((45, 2), (20, 0)):
        finder = FaceFinder(photos, ["b", "n", "t"], Turned(), FaceOptions(max_yaw=limit))
        rows, crops = finder(2)
        assert len(crops) == taken
    assert rows[2].reason == "turned by more than 20 degrees"
    assert 25 < rows[2].yaw < 35


def test_photos_without_a_face_and_damaged_ones_are_rows(photos):
    ((none,), _), ((broken,), _) = found(photos, 1), found(photos, 0)
    assert (none.face, none.dropped) == (None, "no face found")
    assert broken.reason == "cannot be read"
    assert "broken.png" in broken.dropped


def test_sharpness_falls_with_blur_and_not_with_the_size():
    face = np.random.default_rng(0).integers(0, 255, (14, 14, 3), np.uint8)
    crop = cv2.resize(face, (112, 112), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(crop, (0, 0), 3)
    assert sharpness(blurred) < 0.05 * sharpness(crop)
    large = cv2.resize(crop, (224, 224), interpolation=cv2.INTER_NEAREST)
    assert sharpness(large) == pytest.approx(sharpness(crop), rel=0.01)


@pytest.mark.parametrize(
    "wrong", [{"min_size": 1}, {"min_score": 2}, {"max_yaw": 100}, {"min_sharpness": -1}]
)
def test_limits_out_of_range_are_refused(wrong):
    (key,) = wrong
    with pytest.raises(FacedistillError, match=f"--{key.replace('_', '-')}.*give"):
        FaceOptions(**wrong)
