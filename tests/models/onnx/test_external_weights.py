import os

import onnx
import pytest
from onnx import TensorProto

from facedistill.core.errors import FacedistillError
from facedistill.models.onnx.external_weights import external_weights
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.models.onnx.graphs import SIDE, linear

SPEC = InputSpec(size=SIDE)
PLACES = ["/dev/zero", "../elsewhere", "..\\elsewhere", "pipe", "link", "absent", "folder"]


@pytest.fixture
def path(tmp_path):
    """Write a graph beside a pipe, a link to a device and a folder; a file lies one above."""
    folder = tmp_path / "net"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(bytes(4096))
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/dev/zero")
    return linear(folder / "net.onnx", {"out": 4})


def name(path, location, *, used):
    """Let a graph's weights, or some that no node uses, lie elsewhere."""
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    if not used:
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(model.graph.initializer[0])
        tensor.name = "unused"
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", PLACES)
def test_weights_that_no_node_uses_are_not_followed(path, location):
    name(path, location, used=False)
    assert external_weights(path) == []
    assert len(OnnxNetwork(path, input=SPEC, threads=1).fingerprint) == 32


@pytest.mark.parametrize("location", PLACES)
def test_weights_elsewhere_are_refused(path, location):
    name(path, location, used=True)
    with pytest.raises(FacedistillError, match="no regular file below its folder"):
        external_weights(path)
    with pytest.raises(FacedistillError, match="not a usable ONNX file"):
        OnnxNetwork(path, input=SPEC, threads=1)


def test_weights_beside_the_graph_are_found(path):
    (path.parent / "weights.bin").write_bytes(bytes(4096))
    name(path, "weights.bin", used=True)
    assert external_weights(path) == [path.parent / "weights.bin"]


def test_a_pipe_is_no_network(path):
    pipe = path.with_name("pipe.onnx")
    os.mkfifo(pipe)
    with pytest.raises(FacedistillError, match="is a pipe, not a file"):
        OnnxNetwork(pipe)
