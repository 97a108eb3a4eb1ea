import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.image_pairs import MIN_IDENTITIES
from facedistill.evaluation.metrics.roc import roc_curve, tar_at_far
from facedistill.evaluation.protocols.pair_scores import report_scores
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.evaluation.pair_evaluation import evaluate_pairs

PEOPLE = 20


@dataclass
class Faces:
    """Forty images, two of each person; a pair is a person's two or two neighbours' first."""

    name: str = "faces"
    folds: np.ndarray | None = None
    identities: np.ndarray | None = None
    pairs: np.ndarray = field(
        default_factory=lambda: np.array(
            [
                pair
                for p in range(PEOPLE)
                for pair in ((2 * p, 2 * p + 1), (2 * p, (2 * p + 2) % 40))
            ]
        )
    )
    same: np.ndarray = field(default_factory=lambda: np.arange(2 * PEOPLE) % 2 == 0)
    read: list[int] = field(default_factory=list)

    def image(self, index: int) -> np.ndarray:
        self.read.append(index)
        rng = np.random.default_rng(index // 2)
        image = rng.integers(256, size=(4, 4, 3))
        noise = np.random.default_rng(100 + index).integers(-90, 90, size=(4, 4, 3))
        return np.clip(image + noise, 0, 255).astype(np.uint8)


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def test_every_image_is_read_once_and_unused_ones_never():
    faces = Faces()
    faces.pairs, faces.same = faces.pairs[:20], faces.same[:20]
    evaluate_pairs(pixels, faces, resamples=0)
    assert sorted(faces.read) == list(range(21))


def test_scores_are_the_cosines_of_raw_sums():
    faces = Faces()
    report = evaluate_pairs(pixels, faces, resamples=0, batch_size=3)
    for score, (a, b) in zip(report.scores, faces.pairs, strict=True):
        sums = [
            (image.astype(float) - 127.5 + image[:, ::-1] - 127.5).ravel()
            for image in (faces.image(a), faces.image(b))
        ]
        cosine = sums[0] @ sums[1] / np.linalg.norm(sums[0]) / np.linalg.norm(sums[1])
        assert score == pytest.approx(cosine, abs=1e-6)


def test_report_has_both_protocols_and_intervals():
    faces = Faces(identities=np.arange(40) // 2)
    report = evaluate_pairs(pixels, faces, fars=(0.1, 1e-4), resamples=100)
    assert set(report.verification) == {"insightface", "exact"}
    assert report.accuracy == report.verification["insightface"].accuracy
    assert (report.genuine, report.impostors) == (20, 20)
    assert 0.8 < report.auc.value <= 1
    assert report.auc.interval.low <= report.auc.value <= report.auc.interval.high
    assert report.auc.interval.over == "identities"
    assert report.auc.interval.units == 20
    assert set(report.tar_intervals) == set(report.thresholds) == {"1e-1"}
    line = report.line()
    assert "\n" not in line
    for words in ("faces", "insightface", "TAR@1e-4 not measurable", "20 impostor", "identities"):
        assert words in line
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["verification"]["insightface"]["accuracy"] == report.accuracy
    assert document["tar_at_far"]["1e-4"]["tar"] is None
    assert "needs 10,000 impostor pairs" in document["tar_at_far"]["1e-4"]["reason"]
    assert document["tar_at_far"]["1e-1"]["impostors"] == 20


def test_folds_of_the_set_are_taken():
    fold = np.arange(40) % 4
    report = evaluate_pairs(pixels, Faces(folds=fold), resamples=0)
    assert len(report.result.thresholds) == 4


@pytest.mark.parametrize("unknown", ["all", "one", "few people"])
def test_pairs_are_resampled_where_people_are_not_known_or_few(unknown):
    identities = np.arange(40) // 2
    if unknown == "one":
        identities[3] = -1
    if unknown == "few people":
        identities = np.arange(40) % (MIN_IDENTITIES - 1)
    faces = Faces(identities=None if unknown == "all" else identities)
    report = evaluate_pairs(pixels, faces, resamples=20)
    assert report.result.interval.over == report.auc.interval.over == "pairs"


def test_resampled_figures_are_those_of_the_resampled_pairs():
    # Every resample of one genuine and one impostor pair is the same pairs: no width.
    same = np.array([True, False])
    report = report_scores("two", np.array([0.2, 0.2]), same, folds=2, fars=(1.0,), resamples=5)
    assert report.auc.value == report.auc.interval.low == report.auc.interval.high == 0.5
    assert report.eer.value == report.eer.interval.low == report.eer.interval.high == 0.5
    assert report.tar_intervals["1e0"].low == report.tar_intervals["1e0"].high == 1


def test_interval_of_tar_is_the_spread_of_repeated_draws():
    rng = np.random.default_rng(2)

    def draw():
        same = np.arange(1000) % 2 == 0
        return rng.normal(np.where(same, 0.2, 0.0), 0.1).clip(-1, 1), same

    tars = [tar_at_far(roc_curve(*draw()), 0.1).tar for _ in range(300)]
    interval = report_scores("drawn", *draw(), fars=(0.1,), resamples=300).tar_intervals["1e-1"]
    low, high = np.quantile(tars, [0.025, 0.975])
    assert interval.high - interval.low == pytest.approx(high - low, rel=0.4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": np.array([[0, 1], [2, 3], [1, 0]])}, "images 0 and 1 is listed 2 times"),
        ({"pairs": np.array([[0, 1], [2, 2], [1, 3]])}, "pair 1 joins image 2 to itself"),
        ({"pairs": np.array([[0, 1], [2, 3]])}, "3 labels"),
        ({"same": np.ones(3, bool)}, "two identities"),
        ({}, "3 pairs cannot fill 10 folds"),
    ],
)
def test_pairs_that_would_mislead_are_refused(change, message):
    faces = Faces(pairs=np.array([[0, 1], [2, 3], [1, 4]]), same=np.array([True, False, True]))
    for name, value in change.items():
        setattr(faces, name, value)
    with pytest.raises(FacedistillError, match=message):
        evaluate_pairs(pixels, faces)


@pytest.mark.parametrize(("value", "message"), [(0.0, "all zero"), (float("nan"), "not finite")])
def test_useless_embeddings_are_refused(value, message):
    def network(images, needs):
        return Outputs(embedding=torch.full((len(images), 3), value))

    with pytest.raises(FacedistillError, match=message):
        evaluate_pairs(network, Faces())


def test_unknown_protocol_is_refused():
    with pytest.raises(FacedistillError, match="unknown protocol 'lfw'"):
        evaluate_pairs(pixels, Faces(), kfold="lfw", resamples=0)


def test_real_teacher_tells_real_faces_apart(real_data):
    every = open_pairs(real_data / "celeba112" / "celeba_test.bin")
    some = np.arange(0, len(every.same), 100)
    pairset = PairSet("some", every.faces, every.pairs[some], every.same[some])
    teacher = OnnxNetwork(real_data / "teacher" / "edgeface_s_int8.onnx", input=InputSpec())
    report = evaluate_pairs(teacher, pairset, resamples=50)
    assert (report.genuine, report.impostors) == (30, 30)
    assert report.accuracy > 0.85
    assert report.auc.value > 0.93
