import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.files.open_network import open_network
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.models.test_onnx_network import SPEC
from tests.models.test_onnx_network import write as write_onnx


def tiny() -> FaceNetwork:
    spec = InputSpec(size=32)
    return FaceNetwork.create("mobilefacenet", spec, width=0.25, embedding_size=16)


def test_model_file(tmp_path):
    network = tiny()
    path = tmp_path / "net.safetensors"
    save_model(network, path)
    assert open_network(path).fingerprint == network.fingerprint
    assert open_network(path, input=network.input).input == network.input
    with pytest.raises(FacedistillError, match="carries its own"):
        open_network(path, input=InputSpec(size=32, color="BGR"))


def test_networks_of_torch_are_put_where_asked(tmp_path):
    save_model(tiny(), tmp_path / "net.safetensors")
    torch.save(tiny().state_dict(), tmp_path / "net.pt")
    for name in ("net.safetensors", "net.pt"):
        assert open_network(tmp_path / name).device == torch.device("cpu")
        assert open_network(tmp_path / name, device=torch.device("meta")).device.type == "meta"


def test_onnx_file(tmp_path):
    write_onnx(tmp_path / "net.onnx")
    network = open_network(tmp_path / "net.onnx", input=SPEC)
    assert isinstance(network, OnnxNetwork)
    assert network.input == SPEC


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".PTH"])
def test_checkpoint(tmp_path, suffix):
    network = tiny()
    path = tmp_path / f"net{suffix}"
    torch.save(network.state_dict(), path)
    assert open_network(path, input=network.input).fingerprint == network.fingerprint


def test_other_suffixes(tmp_path):
    with pytest.raises(FacedistillError, match=r"net\.tflite: a network is a \.safetensors"):
        open_network(tmp_path / "net.tflite")


def test_both_kinds_say_the_same_about_themselves(tmp_path):
    write_onnx(tmp_path / "net.onnx")
    for network in (tiny(), open_network(tmp_path / "net.onnx", input=SPEC)):
        assert isinstance(network.fingerprint, str)
        assert isinstance(network.embedding_size, int)
        assert isinstance(network.input, InputSpec)
        assert isinstance(network.name, str)
        assert "embedding" in network.gives
