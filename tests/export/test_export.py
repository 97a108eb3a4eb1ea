import json
import sys
from dataclasses import replace
from tempfile import gettempdir

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.export.export import draw_faces, export_network
from facedistill.export.target import TARGETS, ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.export.fake_target import SIDE, faces


def test_a_file_is_published_with_its_companions_once_it_is_checked(network, runtime, tmp_path):
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


@pytest.mark.parametrize("usual", [None, 0.9999, 1 - 1e-12])
def test_parity_below_the_usual_is_remarked_upon(network, runtime, tmp_path, monkeypatch, usual):
    monkeypatch.setitem(TARGETS._entries, "fake", replace(TARGETS.get("fake"), usual_cosine=usual))
    runtime.noise = 0.005
    report = export_network(network, tmp_path / "a.fake", "fake", faces=faces(9))
    remarked = usual is not None and report.parity.mean_cosine < usual
    assert remarked == (usual == 1 - 1e-12)
    assert ("usual of Fake: compare the accuracy (--pairs)" in report.line()) == remarked
    assert (report.to_dict()["remark"] is not None) == remarked
    assert (tmp_path / "a.fake").exists()


@pytest.mark.parametrize("noise", [0.8, np.nan, np.inf])
def test_a_file_that_fails_the_parity_check_is_not_written(network, runtime, tmp_path, noise):
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


def test_a_file_that_cannot_run_here_is_written_without_a_parity_check(network, runtime, tmp_path):
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
    report = export_network(network, tmp_path / "a.fake", "fake", overwrite=True)
    assert report.bytes == len("weights")
    assert [file.name for file in (tmp_path / "a.fake").rglob("*")] == ["inner", "weights"]


def fail_for_space(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("module", "name", "place"),
    [
        ("fake_target", "write", f"to the temporary folder {gettempdir()}: No .*: set TMPDIR"),
        ("shutil", "copyfile", r".*a\.fake: No space left"),
    ],
)
def test_a_full_disk_is_named_and_leaves_nothing(
    network, runtime, tmp_path, monkeypatch, module, name, place
):
    monkeypatch.setattr(sys.modules[module], name, fail_for_space)
    with pytest.raises(FacedistillError, match=f"^cannot write {place}"):
        export_network(network, tmp_path / "a.fake", "fake")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["a.fake", "a.bin"])
def test_nothing_that_is_there_is_written_over_unasked(network, runtime, tmp_path, there):
    (tmp_path / there).write_text("old")
    with pytest.raises(FacedistillError, match=rf"{there} is there already: .*--overwrite"):
        export_network(network, tmp_path / "a.fake", "fake")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {there: "old"}
    assert runtime.asked is None
    export_network(network, tmp_path / "a.fake", "fake", overwrite=True)
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"a.fake": "graph", "a.bin": "weights"}


def test_what_appears_meanwhile_is_not_written_over(network, runtime, tmp_path, monkeypatch):
    write = sys.modules["fake_target"].write

    def write_beside(*arguments):
        write(*arguments)
        (tmp_path / "a.fake").write_text("another's")

    monkeypatch.setattr(sys.modules["fake_target"], "write", write_beside)
    with pytest.raises(FacedistillError, match=r"a\.fake is there already"):
        export_network(network, tmp_path / "a.fake", "fake")
    assert (tmp_path / "a.fake").read_text() == "another's"


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_weights_of_another_targets_file_stay(network, runtime, tmp_path, overwrite):
    for name in ("a.xml", "a.bin"):
        (tmp_path / name).write_text("OpenVINO's")
    # Whether it may be replaced or not, and so no --overwrite is offered that is refused then.
    with pytest.raises(FacedistillError, match=r"a\.bin belongs to .*a\.xml, which is there"):
        export_network(network, tmp_path / "a.fake", "fake", overwrite=overwrite)
    assert (tmp_path / "a.bin").read_text() == "OpenVINO's"


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
    dataset = open_dataset("procedural:identities=4,images=3,size=24")
    report = export_network(network, tmp_path / "a.fake", "fake", faces=dataset)
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
    dataset = open_dataset("procedural:identities=4,images=3,size=24")
    checked, chosen = draw_faces(dataset, SIDE, compared=5, calibration=calibration)
    assert checked.shape == (compared, SIDE, SIDE, 3)
    assert (None if chosen is None else len(chosen)) == calibrated
    drawn = [*checked, *([] if chosen is None else chosen)]
    assert len({face.tobytes() for face in drawn}) == len(drawn)
