from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from facedistill.core.errors import FacedistillError
from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx.onnx_file import write
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import FileInput, OnnxEngine
from tests.runtime.student_input import SPEC, faces


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    torch.manual_seed(0)
    network = FaceNetwork.create("standin", SPEC, landmarks=5).eval()
    path = tmp_path_factory.mktemp("runtime") / "finder.onnx"
    write(network, path, ExportOptions(input="float", batch=2, normalise=True))
    return network, path


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_fixed_batch_of_floats_takes_any_number_of_raw_faces(finder, count):
    network, path = finder
    engine = OnnxEngine(path, threads=1)
    assert engine.batch == 2
    images = torch.from_numpy(faces(count))
    wanted = F.normalize(network(images).embedding).numpy()
    np.testing.assert_allclose(engine.embed(faces(count)), wanted, atol=1e-5)
    np.testing.assert_allclose(engine.locate(faces(count)), network.locate(images), atol=1e-5)


def test_a_recogniser_has_no_landmarks(student):
    with pytest.raises(FacedistillError, match=r"student\.onnx gives no landmarks"):
        OnnxEngine(student[1]).locate(faces(1))


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.23.2", r"does not run on ONNX Runtime 1\.23\.2 .*: pip install 'onnxruntime>=1\.24'"),
        ("1.9.0", r"does not run on ONNX Runtime 1\.9\.0 .*: pip install 'onnxruntime>=1\.24'"),
        ("1.24.0", r"is not a usable ONNX file: .* implementation for Max"),
    ],
)
def test_an_operator_that_an_old_runtime_lacks_is_not_called_damage(
    tmp_path, monkeypatch, version, message
):
    kind = onnx.TensorProto.BFLOAT16  # of which no ONNX Runtime for CPUs has a maximum
    values = [onnx.helper.make_tensor_value_info(name, kind, [2]) for name in ("a", "b", "c")]
    maximum = onnx.helper.make_node("Max", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([maximum], "maximum", values[:2], values[2:])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "a.onnx"
    )
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(FacedistillError, match=rf"a\.onnx {message}"):
        OnnxEngine(tmp_path / "a.onnx")


def test_documents_without_a_batch_take_any_number():
    document = {"format": 1, "input": {"kind": "float32_nchw", **SPEC.to_dict()}}
    assert FileInput.read(document, Path("a")) == FileInput("float32_nchw", SPEC, None)
