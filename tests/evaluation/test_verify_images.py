import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.verify_images import Verdict, verify_images
from facedistill.runtime.image_file import encode_png
from facedistill.runtime.input_spec import InputSpec
from tests.runtime.spot_detector import SpotDetector, photo


class Fixed:
    """A network whose embeddings are given."""

    name = "fixed"

    def __init__(self, embeddings, thresholds=()):
        self.embeddings, self.thresholds = torch.tensor(embeddings), dict(thresholds)

    def embed(self, images):
        return self.embeddings


@pytest.fixture
def crops(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    return tmp_path / "a.png", tmp_path / "b.png"


class Averages(Fixed):
    """Embeds an image by its mean red and green."""

    input = InputSpec(size=32)

    def embed(self, images):
        assert images.shape[1:] == (32, 32, 3)
        means = torch.from_numpy(images.mean(axis=(1, 2))[:, :2])
        return torch.nn.functional.normalize(means)


def test_of_photos_the_largest_faces_are_compared(tmp_path):
    for name, squares in {
        "one": [(10, 20, 100, 200)],
        "two": [(150, 60, 90, 200), (10, 20, 60, 250)],
        "none": [],
    }.items():
        (tmp_path / f"{name}.png").write_bytes(photo(*squares))
    one, two, none = (tmp_path / f"{name}.png" for name in ("one", "two", "none"))
    network = Averages(SAME)
    with pytest.warns(UserWarning, match=r"two\.png has 2 faces: the largest is compared"):
        verdict = verify_images(network, one, two, 0.5, SpotDetector())
    assert verdict.cosine > 0.999
    with pytest.raises(FacedistillError, match=r"none\.png: no face of 40 pixels or more is found"):
        verify_images(network, one, none, 0.5, SpotDetector())


SAME = [[1.0, 0.0], [0.6, 0.8]]


@pytest.mark.parametrize(
    ("threshold", "line"),
    [
        (0.5, "same person: cosine 0.6000, threshold 0.5000 (given)"),
        (0.7, "different people: cosine 0.6000, threshold 0.7000 (given)"),
        (None, "same person: cosine 0.6000, threshold 0.4000 (FAR 1e-4)"),
    ],
)
def test_a_verdict_is_by_the_threshold_given_or_the_strictest_known(crops, threshold, line):
    network = Fixed(SAME, {"1e-3": 0.3, "1e-4": 0.4})
    assert verify_images(network, *crops, threshold).line() == line


@pytest.mark.parametrize("threshold", [3.0, -1.5, float("nan"), float("inf")])
def test_a_threshold_that_is_no_cosine_decides_nothing(crops, threshold):
    with pytest.raises(FacedistillError, match=f"threshold {threshold:g} is not a cosine"):
        verify_images(Fixed(SAME), *crops, threshold)


@pytest.mark.parametrize("second", [[float("nan"), 0.0], [float("inf"), 0.0], [0.0, 0.0]])
def test_an_embedding_without_direction_decides_nothing(crops, second):
    network = Fixed([[1.0, 0.0], second], {"1e-3": 0.3})
    with pytest.raises(FacedistillError, match=r"fixed gives .*b\.png an embedding that is all"):
        verify_images(network, *crops)


def test_without_a_threshold_there_is_no_verdict(crops):
    assert "no threshold is known" in verify_images(Fixed(SAME), *crops).line()


@pytest.mark.parametrize(
    ("cosine", "threshold", "line"),
    [
        (0.51, 0.3, "same person: cosine 0.5100, threshold 0.3000 (given)"),
        (0.30004, 0.30001, "same person: cosine 0.30004, threshold 0.30001 (given)"),
        (0.3000001, 0.3000002, "different people: cosine 0.3000001, threshold 0.3000002 (given)"),
        (0.3, 0.3, "same person: cosine 0.3000, threshold 0.3000 (given)"),
    ],
)
def test_a_verdict_shows_the_digits_that_decide(cosine, threshold, line):
    verdict = Verdict(cosine, threshold, "given")
    assert verdict.line() == line
    assert verdict.to_dict() == {
        "same": cosine >= threshold,
        "cosine": cosine,
        "threshold": threshold,
        "threshold_from": "given",
    }


def test_a_verdict_without_a_threshold_is_none():
    assert Verdict(0.5, None, "given").to_dict()["threshold_from"] is None
