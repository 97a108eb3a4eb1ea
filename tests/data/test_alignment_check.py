import warnings

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data import alignment_check
from facedistill.data.alignment_check import (
    alignment_of,
    eye_contrast,
    misfit,
    warn_unless_aligned,
)
from facedistill.data.labels import Subset
from facedistill.data.open import open_dataset
from facedistill.runtime.alignment import similarity_transform, template, transform_points
from facedistill.runtime.detection import DetectedFace
from tests.data.images_in_memory import images_in_memory


def drawn(count, eyes=(52, 52), side=112):
    """Light faces with dark eyes at these rows, each with noise of its own."""
    rng = np.random.default_rng(0)
    faces = []
    for _ in range(count):
        face = rng.integers(150, 250, (112, 112, 3)).astype(np.uint8)
        for x, y in zip((38, 74), eyes, strict=True):
            cv2.circle(face, (x, y), 5, (30, 30, 30), -1)
        faces.append(cv2.resize(face, (side, side)))
    return faces


def in_memory(images):
    faces = images_in_memory(len(images))
    faces.images = images
    return faces


def test_eyes_in_their_places_are_seen_at_any_size():
    for side in (64, 112, 250):
        assert eye_contrast(drawn(1, side=side)[0]) > 1
    assert eye_contrast(drawn(1, eyes=(64, 64))[0]) < 0
    assert eye_contrast(np.full((112, 112, 3), 9, np.uint8)) == 0


def test_faces_beside_the_template_are_warned_of_and_others_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unless_aligned(in_memory(drawn(10)))
        warn_unless_aligned(in_memory(drawn(4, eyes=(80, 80))))  # too few to say anything
        warn_unless_aligned(open_dataset("procedural:identities=6,images=4,size=32,loose=1"))
    with pytest.warns(UserWarning, match=r"hardly aligned crops: 0 % of 10 images.*--detect"):
        warn_unless_aligned(in_memory(drawn(10, eyes=(64, 64))))
    wide = [cv2.resize(face, (200, 112)) for face in drawn(10)]
    with pytest.warns(UserWarning, match="100 % of 10 images.*most are not square"):
        warn_unless_aligned(in_memory(wide))


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Let a detector be installed that finds the given landmarks."""
    monkeypatch.setenv("FACEDISTILL_CACHE", str(tmp_path))
    (tmp_path / "yunet_n_640_640.onnx").write_bytes(b"stands in")

    def find(landmarks):
        class Detector:
            def detect(self, image, min_size):
                if landmarks is None:
                    return []
                return [DetectedFace((0, 0, 1, 1), landmarks, 1.0)]

        monkeypatch.setattr(alignment_check, "FaceDetector", Detector)

    return find


def test_an_installed_detector_has_the_last_word(installed):
    faces = in_memory(drawn(10, eyes=(64, 64)))
    installed(template() + 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unless_aligned(faces)
    installed(template() + 20)
    with pytest.warns(UserWarning, match=r"in 10 of 10, 28 pixels of 112 beside the template"):
        warn_unless_aligned(faces)
    installed(None)
    with pytest.warns(UserWarning, match=r"finds a face in 0 of 10\. What"):
        warn_unless_aligned(faces)


def test_misfit_is_what_is_left_to_align_and_not_the_pose():
    turned = similarity_transform(template(), template() * 1.1 + 3)
    moved = transform_points(template(), turned)
    assert misfit(moved, 112) == pytest.approx(misfit(2 * moved, 224))
    assert misfit(template(), 112) == pytest.approx(0, abs=1e-9)
    nose_aside = template() + np.array([[0, 0], [0, 0], [8, 0], [0, 0], [0, 0]])
    assert misfit(nose_aside, 112) < 2
    with pytest.raises(FacedistillError):
        misfit(np.zeros((5, 2)), 112)


def test_real_crops_are_told_from_loose_ones_and_scenes(real_data):
    folder = real_data / "landmarks112"
    loose = open_dataset(folder / "list_landmarks_test.txt", root=folder / "img")
    assert not alignment_of(open_dataset(real_data / "celeba112")).doubtful
    assert alignment_of(loose).doubtful
    rng = np.random.default_rng(0)
    scenes = []
    for index in range(0, 640, 10):
        scene = cv2.resize(rng.integers(0, 255, (4, 4, 3), np.uint8), (280, 280))
        left, top = rng.integers(0, 168, 2)
        scene[top : top + 112, left : left + 112] = loose[index].image
        scenes.append(scene)
    assert alignment_of(in_memory(scenes)).doubtful
    with pytest.warns(UserWarning, match="hardly aligned crops"):
        warn_unless_aligned(Subset(in_memory(scenes), range(40)))
