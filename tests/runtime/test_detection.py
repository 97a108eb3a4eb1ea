import builtins
import os
import pickle

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.evaluation.metrics.landmark_errors import normalised_errors
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.rendering import render
from facedistill.faces.synthetic.traits import draw_identity
from facedistill.runtime.alignment import template
from facedistill.runtime.detection import DetectedFace, FaceDetector, _scales, distinct


def face(left, top, width, height, score, landmarks=None):
    points = template() if landmarks is None else landmarks
    return DetectedFace((left, top, width, height), points, score)


def test_boxes_that_overlap_are_one_face_and_the_best_stays():
    best = face(10, 10, 100, 100, 0.9)
    same = face(20, 15, 100, 100, 0.8)
    part = face(30, 30, 40, 40, 0.7)
    beside = face(100, 10, 100, 100, 0.6)
    assert distinct([beside, part, same, best]) == [best, beside]


def test_yaw_follows_the_turn_of_a_head():
    person = draw_identity(np.random.default_rng(0))
    turns = (-50, -30, -15, 0, 15, 30, 50)
    found = [face(0, 0, 1, 1, 1, 112 * render(person, Nuisance(yaw=t))[1]).yaw for t in turns]
    np.testing.assert_allclose(found, turns, atol=15)
    assert np.all(np.diff(found) > 5)
    assert face(0, 0, 1, 1, 1, np.zeros((5, 2))).yaw == 90


@pytest.mark.parametrize(
    ("longer", "min_size", "shown"),
    [
        (112, 40, [336]),  # enlarged three times, not more
        (640, 40, [640]),
        (640, 10, [640, 1280]),
        (4000, 40, [640, 1280, 2560]),
        (4000, 130, [640]),
        (8660, 1, [640, 1280, 2560]),  # 50 megapixels
    ],
)
def test_views_are_as_many_as_the_smallest_face_needs(longer, min_size, shown):
    scales = _scales((longer, longer // 2, 3), min_size)
    np.testing.assert_allclose([scale * longer for scale in scales], shown)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "git-lfs pointer"),
        ("a.onnx", b"<html>", "is no ONNX file"),
        ("a.onnx", b"", "is no ONNX file"),
        ("a.onnx", b"\x08\x07 and then something else", "not a usable ONNX file"),
        ("a.bin", b"\x08\x07", "is no ONNX file"),
    ],
)
def test_what_is_no_detector_says_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FacedistillError, match=message):
        FaceDetector(tmp_path / name)


def test_a_pipe_an_endless_file_and_another_network_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(FacedistillError, match="is a pipe"):
        FaceDetector(tmp_path / "pipe.onnx")
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(FacedistillError, match="at most 67,108,864 are read"):
        FaceDetector(tmp_path / "large.onnx")
    with pytest.raises(FacedistillError, match="but no YuNet detector"):
        FaceDetector(another_network(tmp_path / "other.onnx"))


def another_network(path):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [value("x", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, [4])],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_without_a_detector_the_line_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDISTILL_CACHE", str(tmp_path))
    with pytest.raises(FacedistillError, match="there is none: `facedistill fetch yunet` gets one"):
        FaceDetector()
    with pytest.raises(FacedistillError, match=r"x\.onnx: no such detector.*fetch yunet"):
        FaceDetector("x.onnx")


@pytest.fixture(scope="module")
def detector(yunet):
    return FaceDetector(yunet)


@pytest.fixture(scope="module")
def loose(real_data):
    """A few loose crops and their landmarks in pixels."""
    folder = real_data / "landmarks112"
    faces = open_dataset(folder / "list_landmarks_test.txt", root=folder / "img")
    return [(faces[k].image, faces[k].landmarks * 112 - 0.5) for k in range(0, 40, 5)]


def test_opencv_is_asked_for_in_one_line_where_it_is_not(detector, monkeypatch):
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == "cv2":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FacedistillError, match="pip install 'opencv-python-headless"):
        FaceDetector(detector.path)


def test_every_loose_crop_has_its_face_and_a_second_look_errs_less(detector, loose):
    first, second = [], []
    for image, _ in loose:
        best = detector.detect(image)[0]
        first.append(best.landmarks)
        second.append(detector.refine(image, best).landmarks)
    truth = np.stack([points for _, points in loose])
    before, after = (normalised_errors(np.stack(found), truth).mean() for found in (first, second))
    assert after < before < 0.15
    assert after < 0.08


def test_faces_of_a_scene_lie_where_they_were_put(detector, loose):
    """One that fills most of a photograph of two views, and a small one."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(60, 200, (30, 40, 3), np.uint8), (1200, 900))
    places = ((50, 60, 800), (1000, 700, 70))
    for (image, _), (left, top, side) in zip(loose, places, strict=False):
        scene[top : top + side, left : left + side] = cv2.resize(image, (side, side))
    found = sorted(detector.detect(scene, min_size=30), key=lambda one: -one.size)
    assert len(found) == 2
    for one, (_, points), (left, top, side) in zip(found, loose, places, strict=False):
        there = (points + 0.5) * side / 112 - 0.5 + (left, top)
        error = np.linalg.norm(detector.refine(scene, one).landmarks - there, axis=1).mean()
        assert error < 0.06 * side


def test_a_detector_goes_to_another_process_as_its_path(detector, loose):
    again = pickle.loads(pickle.dumps(detector))
    image = loose[0][0]
    assert again.detect(image)[0].box == detector.detect(image)[0].box


def test_what_is_no_face_is_none(detector):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    assert detector.detect(noise) == []
    one = np.full((1, 1, 3), 7, np.uint8)
    assert detector.detect(one) == []
