import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.export.export import draw_faces, export_network
from facedistill.export.target import TARGETS, EngineUnavailable, ExportOptions, Runtime, Target
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network

SIDE = 16
RUNTIME = Runtime("Fake", "fake_runtime", "fake-runtime")


class FakeTarget:
    """A target of two files, whose engine is the network itself, less what a test spoils."""

    def __init__(self):
        self.noise, self.unavailable, self.asked, self.left = 0.0, None, None, ()

    def write(self, network, path, options):
        self.left = sorted(path.parent.iterdir())
        self.network, self.asked = network, options
        path.write_text("graph")
        path.with_suffix(".bin").write_text("weights")

    def open_engine(self, path, *, threads=None):
        assert path.read_text() == "graph"
        if self.unavailable:
            raise EngineUnavailable(self.unavailable)
        return self

    @torch.no_grad()
    def embed(self, images):
        embedding = self.network(torch.from_numpy(images)).embedding.numpy()
        return embedding + np.float32(self.noise) * embedding[:, ::-1]


@pytest.fixture
def runtime(monkeypatch):
    made = FakeTarget()
    module = SimpleNamespace(write=made.write, open_engine=made.open_engine)
    monkeypatch.setitem(sys.modules, "fake_target", module)
    fake = Target("fake", "Fake", "fake_target", ".fake", RUNTIME, defaults=ExportOptions(batch=2))
    monkeypatch.setitem(TARGETS._entries, "fake", fake)
    return made


@pytest.fixture
def network():
    torch.manual_seed(0)
    return FaceNetwork.create("standin", InputSpec(size=SIDE)).train()


@pytest.fixture
def pairs():
    faces = open_dataset("procedural:identities=10,images=4,size=24")
    return PairSet.from_dataset(faces, 40, seed=0)


def faces(count):
    return np.random.default_rng(1).integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)


def test_a_file_is_published_with_its_companions_once_it_is_checked(network, runtime, tmp_path):
    (tmp_path / "a.bin").write_text("old")
    report = export_network(network, tmp_path / "a.fake", "fake", faces=faces(40))
    assert runtime.left == []
    assert runtime.asked == ExportOptions(batch=2)
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"a.fake": "graph", "a.bin": "weights"}
    assert report.bytes == len("graph") + len("weights")
    assert report.parity.faces == 40
    assert report.parity.min_cosine == pytest.approx(1)
    assert network.training
    assert runtime.network is not network
    assert json.loads(json.dumps(report.to_dict()))["agreement"]["faces"] == 40


def test_cosines_are_those_of_each_face(network, runtime, tmp_path):
    runtime.noise = 0.02
    shown = faces(9)
    report = export_network(network, tmp_path / "a.fake", "fake", faces=shown)
    ours = runtime.network(torch.from_numpy(shown)).embedding.detach().double()
    theirs = torch.from_numpy(runtime.embed(shown)).double()
    cosines = torch.cosine_similarity(ours, theirs)
    assert report.parity.min_cosine == pytest.approx(cosines.min().item(), abs=1e-9)
    assert report.parity.mean_cosine == pytest.approx(cosines.mean().item(), abs=1e-9)
    largest = (ours - theirs).abs().max().item()
    assert report.parity.max_abs_diff == pytest.approx(largest, rel=1e-6)
    assert cosines.min() < 0.99999


def test_accuracy_is_compared_on_the_same_pairs(network, runtime, pairs, tmp_path):
    report = export_network(network, tmp_path / "a.fake", "fake", pairs=pairs)
    assert report.accuracy.file == report.accuracy.network
    assert report.accuracy.difference.difference == 0
    assert "difference +0.00" in report.line()
    assert pairs.name in report.line()


@pytest.mark.parametrize("usual", [None, 0.9999, 1 - 1e-12])
def test_a_file_that_agrees_less_than_is_usual_is_remarked_upon(
    network, runtime, tmp_path, monkeypatch, usual
):
    monkeypatch.setitem(TARGETS._entries, "fake", replace(TARGETS.get("fake"), usual_cosine=usual))
    runtime.noise = 0.005
    report = export_network(network, tmp_path / "a.fake", "fake", faces=faces(9))
    remarked = usual is not None and report.parity.mean_cosine < usual
    assert remarked == (usual == 1 - 1e-12)
    assert ("usual of Fake: compare the accuracy (--pairs)" in report.line()) == remarked
    assert (report.to_dict()["remark"] is not None) == remarked
    assert (tmp_path / "a.fake").exists()


@pytest.mark.parametrize("noise", [0.8, np.nan, np.inf])
def test_a_file_that_disagrees_is_not_written(network, runtime, tmp_path, noise):
    runtime.noise = noise
    with pytest.raises(FacedistillError, match=r"not written: .*a\.fake"):
        export_network(network, tmp_path / "a.fake", "fake")
    assert not list(tmp_path.iterdir())


def test_a_network_without_finite_embeddings_is_not_written(network, runtime, tmp_path):
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(FacedistillError, match="the network gives embeddings that are not finite"):
        export_network(network, tmp_path / "a.fake", "fake")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_run_here_is_written_and_says_so(network, runtime, tmp_path):
    runtime.unavailable = "prediction needs macOS"
    report = export_network(network, tmp_path / "a.fake", "fake")
    assert report.parity is None
    assert "without a parity check: prediction needs macOS" in report.line()
    assert (tmp_path / "a.fake").read_text() == "graph"


def test_folders_are_published_whole(network, runtime, tmp_path, monkeypatch):
    def write(network, path, options):
        runtime.network = network
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "weights").write_text("weights")

    monkeypatch.setattr(sys.modules["fake_target"], "write", write)
    monkeypatch.setattr(sys.modules["fake_target"], "open_engine", lambda path, threads: runtime)
    (tmp_path / "a.fake").mkdir()
    (tmp_path / "a.fake" / "stale").touch()
    report = export_network(network, tmp_path / "a.fake", "fake")
    assert report.bytes == len("weights")
    assert [file.name for file in (tmp_path / "a.fake").rglob("*")] == ["inner", "weights"]


def test_a_full_disk_leaves_nothing(network, runtime, tmp_path, monkeypatch):
    def write(network, path, options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["fake_target"], "write", write)
    with pytest.raises(FacedistillError, match=r"cannot write .*a\.fake: No space left"):
        export_network(network, tmp_path / "a.fake", "fake")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "target", "given", "message"),
    [
        ("a.pt", "fake", {}, r"a\.pt: the name of a file of target fake ends in \.fake"),
        ("a.fake", "fak", {}, "unknown target 'fak': did you mean 'fake'"),
        ("a.fake", "fake", {"calibration": 9}, "target fake needs no calibration"),
        ("a.fake", "fake", {"faces": np.zeros((1, 8, 8, 3), np.uint8)}, "compared on uint8"),
        ("a.fake", "fake", {"faces": np.zeros((1, SIDE, SIDE, 3))}, "compared on uint8"),
        ("a.fake", "fake", {"faces": np.zeros((0, SIDE, SIDE, 3), np.uint8)}, "compared on uint8"),
    ],
)
def test_wrong_arguments_are_refused(network, runtime, tmp_path, name, target, given, message):
    with pytest.raises(FacedistillError, match=message):
        export_network(network, tmp_path / name, target, **given)
    assert runtime.asked is None
    assert not list(tmp_path.iterdir())


def test_a_data_set_serves_to_calibrate_and_to_compare(network, runtime, monkeypatch, tmp_path):
    fake = replace(TARGETS.get("fake"), calibration=4)
    monkeypatch.setitem(TARGETS._entries, "fake", fake)
    people = open_dataset("procedural:identities=4,images=3,size=24")
    report = export_network(network, tmp_path / "a.fake", "fake", faces=people)
    assert runtime.asked.calibration.shape == (4, SIDE, SIDE, 3)
    assert report.parity.faces == 8


def test_landmarks_are_refused_by_targets_without(runtime, tmp_path):
    finder = FaceNetwork.create("standin", InputSpec(size=SIDE), landmarks=5)
    with pytest.raises(FacedistillError, match="fake gives embeddings only, and standin finds"):
        export_network(finder, tmp_path / "a.fake", "fake")


@pytest.mark.parametrize(
    ("calibration", "compared", "calibrated"), [(0, 5, None), (3, 5, 3), (50, 6, 6)]
)
def test_faces_to_calibrate_with_are_none_of_those_compared(calibration, compared, calibrated):
    people = open_dataset("procedural:identities=4,images=3,size=24")
    checked, chosen = draw_faces(people, SIDE, compared=5, calibration=calibration)
    assert checked.shape == (compared, SIDE, SIDE, 3)
    assert (None if chosen is None else len(chosen)) == calibrated
    drawn = [*checked, *([] if chosen is None else chosen)]
    assert len({face.tobytes() for face in drawn}) == len(drawn)
