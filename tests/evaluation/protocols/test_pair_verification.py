import json

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.evaluation.pair_evaluation import FacePairs, evaluate_pairs, pixels


def test_every_image_is_read_once_and_unused_ones_never():
    faces = FacePairs()
    faces.pairs, faces.same = faces.pairs[:20], faces.same[:20]
    evaluate_pairs(pixels, faces, resamples=0)
    assert sorted(faces.read) == list(range(21))


def test_scores_are_the_cosines_of_raw_sums():
    faces = FacePairs()
    report = evaluate_pairs(pixels, faces, resamples=0, batch_size=3)
    for score, (a, b) in zip(report.scores, faces.pairs, strict=True):
        sums = [
            (image.astype(float) - 127.5 + image[:, ::-1] - 127.5).ravel()
            for image in (faces.image(a), faces.image(b))
        ]
        cosine = sums[0] @ sums[1] / np.linalg.norm(sums[0]) / np.linalg.norm(sums[1])
        assert score == pytest.approx(cosine, abs=1e-6)


def test_report_has_both_protocols_and_intervals():
    faces = FacePairs(identities=np.arange(40) // 2)
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
    report = evaluate_pairs(pixels, FacePairs(folds=fold), resamples=0)
    assert len(report.result.thresholds) == 4


@pytest.mark.parametrize(("value", "message"), [(0.0, "all zero"), (float("nan"), "not finite")])
def test_useless_embeddings_are_refused(value, message):
    def network(images, needs):
        return Outputs(embedding=torch.full((len(images), 3), value))

    with pytest.raises(FacedistillError, match=message):
        evaluate_pairs(network, FacePairs())


def test_unknown_protocol_is_refused():
    with pytest.raises(FacedistillError, match="unknown protocol 'lfw'"):
        evaluate_pairs(pixels, FacePairs(), kfold="lfw", resamples=0)


def test_real_teacher_verifies_real_faces(real_data):
    every = open_pairs(real_data / "celeba112" / "celeba_test.bin")
    some = np.arange(0, len(every.same), 100)
    pairset = PairSet("some", every.faces, every.pairs[some], every.same[some])
    teacher = OnnxNetwork(real_data / "teacher" / "edgeface_s_int8.onnx", input=InputSpec())
    report = evaluate_pairs(teacher, pairset, resamples=50)
    assert (report.genuine, report.impostors) == (30, 30)
    assert report.accuracy > 0.85
    assert report.auc.value > 0.93
