import json

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.evaluation.landmark_locator import locate_faces
from facedistill.evaluation.metrics.landmark_errors import (
    normalised_errors,
)
from facedistill.evaluation.protocols.landmark_localisation import report_landmarks
from facedistill.evaluation.statistics.table_rows import figures_of
from facedistill.faces.landmarks import reduce_to_five
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network
from tests.evaluation.landmark_evaluation import evaluate_landmarks, faces


def test_figures_by_hand():
    found, truth = faces()
    report = report_landmarks("x", found, truth, limits=(0.05, 0.2), resamples=0)
    errors = [float(np.mean(face)) for face in normalised_errors(found, truth)]
    assert report.nme.value == pytest.approx(sum(errors) / 40)
    assert report.score == -report.nme.value
    for limit in (0.05, 0.2):
        failed = sum(error > limit for error in errors) / 40
        assert report.failures[limit].value == pytest.approx(failed)
        # The staircase, summed up in thin slices.
        slices = np.linspace(0, limit, 20_001)
        shares = [sum(error <= x for error in errors) / 40 for x in (slices[:-1] + slices[1:]) / 2]
        assert report.auc[limit].value == pytest.approx(np.mean(shares), abs=1e-4)
    for point in range(5):
        expected = np.mean([normalised_errors(found, truth)[i, point] for i in range(40)])
        assert report.point_errors[point] == pytest.approx(expected)


def test_units_and_place_do_not_matter():
    found, truth = faces()
    plain = report_landmarks("x", found, truth, resamples=0).nme.value
    moved = report_landmarks("x", 112 * found + 7, 112 * truth + 7, resamples=0).nme.value
    assert moved == pytest.approx(plain)


def test_intervals_cover_the_truth_and_name_what_was_resampled():
    rng = np.random.default_rng(4)
    covered = 0
    for seed in range(60):
        truth = np.tile([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.3, 0.8], [0.7, 0.8]], (50, 1, 1))
        found = truth + [0.4, 0.0] * rng.exponential(0.05, (50, 1, 1))
        interval = report_landmarks("x", found, truth, resamples=300, seed=seed).nme.interval
        assert (interval.over, interval.units) == ("faces", 50)
        covered += interval.low < 0.05 < interval.high
    # 95 %, less a little for skewed errors; 49 or fewer of 60 has a chance below 1e-4 then.
    assert covered >= 50
    identities = np.repeat(np.arange(10), 4)
    found, truth = faces()
    interval = report_landmarks("x", found, truth, identities=identities).nme.interval
    assert (interval.over, interval.units) == ("identities", 10)


def test_report_is_written_as_text_and_json():
    found, truth = faces()
    report = report_landmarks("some faces", found, truth, resamples=50)
    line = report.line()
    for part in ("some faces: NME ", "above 8 %", "above 10 %", "AUC", "left eye", "40 faces"):
        assert part in line
    document = json.loads(json.dumps(report.to_dict()))
    assert document["nme"]["value"] == report.nme.value
    figures = figures_of(document)
    assert figures["nme"] == report.nme
    assert figures["failures@0.08"].interval.over == "faces"
    assert set(document["failures"]) == {"0.08", "0.1"}
    assert document["point_errors"]["nose"] == report.point_errors[2]
    many = report_landmarks("x", *faces(points=68), resamples=0)
    assert "points " in many.line()
    assert len(many.to_dict()["point_errors"]) == 68
    assert document["normalised_by"] == "inter-ocular"
    assert many.to_dict()["normalised_by"] == "inter-ocular (outer corners)"


class Oracle:
    """Reads the landmarks off the data set's own points, in whatever markup."""

    name, gives, input = "oracle", frozenset({"landmarks"}), InputSpec(size=24)

    def __init__(self, answers):
        self.answers = answers
        self.sizes = []

    def locate(self, images):
        self.sizes.append(images.shape)
        given, self.answers = self.answers[: len(images)], self.answers[len(images) :]
        return torch.from_numpy(given)


def test_network_sees_every_face_once_at_its_size():
    data = ProceduralDataset(3, 3, size=32, loose=1.0)
    truth = np.stack([data[i].landmarks for i in range(9)])
    oracle = Oracle(truth + np.float32(0.01))
    report = evaluate_landmarks(oracle, data, batch_size=4, resamples=20)
    assert oracle.sizes == [(4, 24, 24, 3), (4, 24, 24, 3), (1, 24, 24, 3)]
    np.testing.assert_array_equal(report.truth, truth)
    expected = normalised_errors(truth + 0.01, truth)
    np.testing.assert_allclose(report.errors, expected, rtol=1e-4)
    assert report.nme.interval.over == "identities"


def test_other_markups_are_compared_in_five_points():
    data = ProceduralDataset(2, 1, size=32, loose=1.0)
    found = np.random.default_rng(0).random((2, 68, 2), dtype=np.float32)
    report = evaluate_landmarks(Oracle(found), data, resamples=0)
    np.testing.assert_array_equal(report.found, reduce_to_five(found))


def test_networks_and_faces_without_landmarks_are_refused(tmp_path):
    data = ProceduralDataset(2, 1, size=16)
    with pytest.raises(FacedistillError, match="finds no landmarks, it gives embedding, feature"):
        evaluate_landmarks(FaceNetwork.create("standin", InputSpec(size=16)), data)
    network = FaceNetwork.create("standin", InputSpec(size=16), landmarks=5)
    for index in range(2):
        (tmp_path / f"{index}.png").write_bytes(data.encoded(index))
    unmarked = FolderDataset(tmp_path)
    assert locate_faces(network, unmarked)[1] is None
    with pytest.raises(FacedistillError, match="has no landmarks: give a landmark list"):
        evaluate_landmarks(network, unmarked)
