import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.detection import YUNET
from tests.cli.calling import call


def test_a_local_copy_of_the_detector_is_installed(yunet, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDISTILL_CACHE", str(tmp_path / "cache"))
    output = call("fetch", "yunet", "--from", yunet)
    assert "Apache-2.0; trained on WIDER FACE" in output
    assert "next" in output
    assert (tmp_path / "cache" / YUNET.file_name).read_bytes() == yunet.read_bytes()
    assert "was there already" in call("fetch", "yunet")  # no connection is opened


def test_what_cannot_be_fetched_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDISTILL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FacedistillError, match="did you mean 'yunet'"):
        call("fetch", "yunnet")
    (tmp_path / "other.onnx").write_bytes(b"another")
    with pytest.raises(FacedistillError, match="is not the yunet file that is wanted"):
        call("fetch", "yunet", "--from", tmp_path / "other.onnx")
    assert not (tmp_path / "cache").exists()
