import json

import numpy as np
import onnx
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.export.export import export_network
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.decision_thresholds import write_thresholds
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.file_digest import write_digest
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = FaceNetwork.create("standin", InputSpec(size=32), embedding_size=8)
    network.metadata = ModelMetadata(name="one", thresholds={"1e-2": 0.2, "1e-3": 0.3})
    return network.eval()


def test_a_model_file_keeps_all_but_the_thresholds_given(network, tmp_path):
    path = tmp_path / "a.safetensors"
    save_model(network, path)
    assert write_thresholds(path, {"1e-3": 0.35}) == {"1e-2": 0.2, "1e-3": 0.35}
    again = load_model(path)
    assert again.thresholds == {"1e-2": 0.2, "1e-3": 0.35}
    assert again.metadata.name == "one"
    for key, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, again.backbone.state_dict()[key])


def test_a_runs_folder_stands_for_its_best_weights(network, tmp_path):
    save_model(network, tmp_path / "best.safetensors")
    assert write_thresholds(tmp_path, {"1e-3": 0.35}) == {"1e-2": 0.2, "1e-3": 0.35}
    assert load_model(tmp_path).thresholds == {"1e-2": 0.2, "1e-3": 0.35}


def test_an_exported_file_keeps_all_but_the_thresholds_given(network, tmp_path):
    path = tmp_path / "a.onnx"
    export_network(network, path)
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    before = OnnxNetwork(path).embed(faces)
    assert write_thresholds(path, {"1e-4": 0.4})["1e-3"] == 0.3
    after = OnnxNetwork(path)
    assert after.thresholds == {"1e-2": 0.2, "1e-3": 0.3, "1e-4": 0.4}
    assert torch.equal(after.embed(faces), before)
    foreign = onnx.load(path)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(FacedistillError, match="not exported by facedistill"):
        write_thresholds(tmp_path / "foreign.onnx", {"1e-4": 0.4})
    onnx.helper.set_model_props(foreign, {"facedistill": json.dumps([1])})
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(FacedistillError, match="has no digest"):
        write_thresholds(tmp_path / "foreign.onnx", {"1e-4": 0.4})
    write_digest(tmp_path / "foreign.onnx")
    with pytest.raises(FacedistillError, match="not a JSON object"):
        write_thresholds(tmp_path / "foreign.onnx", {"1e-4": 0.4})


@pytest.mark.parametrize(
    ("name", "thresholds", "message"),
    [
        ("a.safetensors", {}, "no threshold to write"),
        ("a.safetensors", {"1e-3": float("nan")}, "not a cosine"),
        ("a.safetensors", {"1e-3": 1.5}, "not a cosine"),
        ("a.pt", {"1e-3": 0.5}, "cannot carry thresholds"),
        ("none.safetensors", {"1e-3": 0.5}, "does not exist"),
        ("none.onnx", {"1e-3": 0.5}, "cannot read"),
        ("junk.onnx", {"1e-3": 0.5}, "not an ONNX file"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, thresholds, message):
    (tmp_path / "junk.onnx").write_bytes(b"\xff\xff\xffjunk")
    with pytest.raises(FacedistillError, match=message):
        write_thresholds(tmp_path / name, thresholds)
