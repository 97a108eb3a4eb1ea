"""Photos given to the commands that else take crops."""

import json

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from tests.cli.calling import call


@pytest.fixture(scope="module")
def photos(real_data, tmp_path_factory):
    """Six scenes of three people, each with a loose crop somewhere; the last is empty."""
    folder = tmp_path_factory.mktemp("detect") / "photos"
    crops = sorted((real_data / "landmarks112" / "img").iterdir())
    rng = np.random.default_rng(0)
    for number in range(6):
        scene = cv2.resize(rng.integers(40, 220, (4, 5, 3), np.uint8), (320, 240))
        if number < 5:
            loose = cv2.resize(cv2.imread(str(crops[number])), (160, 160))
            scene[20 * number : 160 + 20 * number, 30:190] = loose
        place = folder / f"person{number // 2}" / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), scene)
    return folder


def test_photos_are_inspected_verified_and_evaluated(story, photos, yunet, tmp_path):
    detect = ("--detect", "--detector", yunet)
    sheet = tmp_path / "sheet.png"
    found = json.loads(call("inspect", photos, *detect, "--json", "--sheet", sheet))
    assert (found["with one face"], found["without a face"]) == (5, 1)
    assert sheet.exists()
    model = story / "student.onnx"
    one, empty = photos / "person0" / "0.jpg", photos / "person2" / "5.jpg"
    said = call("verify", one, one, "--model", model, "--threshold", "0.3", *detect)
    assert said.startswith("same person: cosine 1.0000")
    with pytest.raises(FacedistillError, match=r"5\.jpg: no face of 40 pixels or more is found"):
        call("verify", one, empty, "--model", model, *detect)
    evaluate = ("evaluate", model, photos, "--all-pairs", "--resamples", "0", "--far", "0.5")
    with pytest.warns(UserWarning, match=r"no face is found in 1 photos \(first .*5\.jpg"):
        assert "TAR" in call(*evaluate, *detect)


def test_without_a_detector_every_command_says_how_to_get_one(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    for command in (
        ("inspect", tmp_path),
        ("verify", tmp_path / "a.jpg", tmp_path / "a.jpg", "--model", tmp_path / "a.jpg"),
        ("evaluate", tmp_path / "a.jpg", tmp_path),
        ("prepare", tmp_path, "--out", tmp_path.with_name("out")),
    ):
        with pytest.raises(FacedistillError, match="`facedistill fetch yunet` gets one"):
            call(*command, "--detect")


def test_a_detector_alone_and_stored_embeddings_are_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(FacedistillError, match="--detector goes with --detect"):
        call("inspect", tmp_path, "--detector", tmp_path / "a.npy")
    with pytest.raises(FacedistillError, match="give one, not --embeddings"):
        call("evaluate", "--embeddings", tmp_path / "a.npy", tmp_path, "--detect")


def test_what_are_hardly_crops_are_to_be_prepared_next(tmp_path):
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((64, 64, 3), 9 * number, np.uint8))
    with pytest.warns(UserWarning, match=r"hardly aligned crops: 0 % of 10 images"):
        said = call("inspect", tmp_path)
    assert f"next: facedistill prepare {tmp_path} --detect --pack --out faces" in said
