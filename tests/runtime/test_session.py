import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facedistill.core.errors import FacedistillError
from facedistill.runtime.session import Session


@pytest.fixture
def path(tmp_path):
    """Write a graph that takes (b, 4) and runs on (2, 4) alone."""
    value = helper.make_tensor_value_info
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [8])
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "small",
        [value("x", TensorProto.FLOAT, ["b", 4])],
        [value("y", TensorProto.FLOAT, [8])],
        [shape],
    )
    path = tmp_path / "small.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return path


def test_outputs_by_name(path):
    (given,) = Session(path, 1).run(["y"], np.ones((2, 4), np.float32))
    assert given.shape == (8,)


@pytest.mark.parametrize("shape", [(3, 4), (2, 5), (2, 4, 1)])
def test_what_the_runtime_fails_by_is_one_line_and_nothing_else(path, shape, capfd):
    with pytest.raises(FacedistillError, match=r"small\.onnx does not run on input x") as error:
        Session(path, 1).run(["y"], np.ones(shape, np.float32))
    assert str(shape) in str(error.value)
    assert len(str(error.value)) < 1000
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word " * 1000, r": (word ){60}\.\.\.$"),
        ("[ONNXRuntimeError] : 1 : FAIL : Node. Status Message: a.h:59 Is (0)", r": Is \(0\)$"),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got 2", r"\(2, 4\): Got 2$"),
        ("Exception: /src/a.cc:7 void* ort::A::f(int, bool) const It\n failed", ": It failed$"),
        ("", ": RuntimeError$"),
    ],
)
def test_the_reason_is_a_short_line_without_places_in_sources(path, monkeypatch, text, reason):
    class Failing:
        def run(self, *_):
            raise RuntimeError(text)

    opened = Session(path, 1)
    monkeypatch.setattr(opened, "_session", Failing())
    with pytest.raises(FacedistillError, match=reason):
        opened.run(["y"], np.ones((2, 4), np.float32))
