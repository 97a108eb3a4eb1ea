import pytest

from facedistill.core.errors import FacedistillError
from facedistill.models.files.run_weights import best_of


def test_a_file_stands_for_itself(tmp_path):
    assert best_of(tmp_path / "net.onnx") == tmp_path / "net.onnx"


def test_a_runs_folder_stands_for_its_best_weights(tmp_path):
    (tmp_path / "best.safetensors").touch()
    assert best_of(tmp_path) == tmp_path / "best.safetensors"


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(FacedistillError, match=r"without best\.safetensors: give a model file"):
        best_of(tmp_path)
