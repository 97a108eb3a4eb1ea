import numpy as np
import pytest
from onnx import TensorProto

from facedistill.models.onnx.graph_input import read_input
from facedistill.models.onnx.own_normalisation import find_normalisation
from facedistill.runtime.session import Session
from tests.models.onnx.graphs import SIDE, constants, linear, node


def f(*values):
    return np.array(values if len(values) > 1 else values[0], np.float32)


def planes(*values):
    return f(*values).reshape(3, 1, 1)


BATCH_NORM = {"scale": f(1, 1, 1), "bias": f(0, 0, 0)}
RAW = {
    "mxnet": (
        [node("Sub", "x a", "_minusscalar0"), node("Mul", "_minusscalar0 b", "n")],
        {"a": f(127.5), "b": f(0.0078125)},
    ),
    "division": ([node("Div", "x a", "n")], {"a": f(255)}),
    "imagenet": (
        [node("Sub", "x a", "s"), node("Div", "s b", "n")],
        {"a": planes(123.7, 116.3, 103.5), "b": planes(58.4, 57.1, 57.4)},
    ),
    "addition": (
        [node("Mul", "b x", "s"), node("Add", "a s", "n")],
        {"a": f([-1]), "b": f([1 / 128])},
    ),
    "batch norm": (
        [node("BatchNormalization", "x scale bias mean var", "n")],
        {**BATCH_NORM, "mean": f(130, 110, 100), "var": f(3600, 3500, 3700)},
    ),
    "other order": (
        [
            node("Gather", "x swap", "g", axis=1),
            node("Transpose", "g", "t", perm=[0, 2, 3, 1]),
            node("Sub", "t a", "s"),
            node("Div", "s b", "n"),
        ],
        {"swap": np.array([2, 1, 0]), "a": f(127.5), "b": f(128)},
    ),
    "a computed constant": (
        [
            node("Unsqueeze", "a axes", "c"),
            node("Cast", "c", "d", to=TensorProto.FLOAT),
            node("Sub", "x d", "s"),
            node("Div", "s b", "n"),
        ],
        {"a": np.array([127, 127, 127]), "axes": np.array([1, 2]), "b": f(128)},
    ),
}
UNIT = {
    "halves": (
        [node("Sub", "x a", "s"), node("Div", "s a", "n")],
        {"a": f(0.5)},
    ),
    "imagenet": (
        [node("Sub", "x a", "s"), node("Div", "s b", "n")],
        {"a": planes(0.485, 0.456, 0.406), "b": planes(0.229, 0.224, 0.225)},
    ),
}
NONE = {
    "nothing": ([node("Identity", "x", "n")], {}),
    "batch norm of normalised pixels": (
        [node("BatchNormalization", "x scale bias mean var", "n")],
        {**BATCH_NORM, "mean": f(-0.1, 0.0, 0.1), "var": f(0.25, 0.25, 0.25)},
    ),
    "another scale of normalised pixels": ([node("Mul", "x a", "n")], {"a": f(0.5)}),
    "bytes of a quantised graph": (
        [node("QuantizeLinear", "x a z", "q"), node("DequantizeLinear", "q a z", "n")],
        {"a": f(1 / 127), "z": np.int8(0)},
    ),
}


def find(path, case, fed="n"):
    before, tensors = case
    linear(path, {"out": 4}, before=before, tensors=constants(**tensors), fed=fed)
    return find_normalisation(path, read_input(Session(path, 1)), SIDE)


@pytest.mark.parametrize("name", RAW)
def test_a_graph_that_normalises_pixels_is_fed_them(tmp_path, name):
    found = find(tmp_path / "net.onnx", RAW[name])
    assert found.largest == 255
    assert found.std == (1, 1, 1)
    assert found.feed == "pixels 0..255 as they are"


@pytest.mark.parametrize("name", UNIT)
def test_a_graph_that_normalises_0_to_1_is_fed_that(tmp_path, name):
    found = find(tmp_path / "net.onnx", UNIT[name])
    assert found.largest == 1
    assert found.std == (255, 255, 255)


@pytest.mark.parametrize("name", NONE)
def test_other_graphs_are_taken_for_what_they_are(tmp_path, name):
    assert find(tmp_path / "net.onnx", NONE[name]) is None


def test_pixels_that_go_into_a_layer_as_they_are_are_not_normalised(tmp_path):
    before, tensors = RAW["mxnet"]
    direct = [node("GlobalAveragePool", "x", "side_branch"), *before]
    assert find(tmp_path / "net.onnx", (direct, tensors)) is None


def test_a_fixed_batch_and_half_precision(tmp_path):
    path = tmp_path / "net.onnx"
    nodes = [node("Cast", "x", "c", to=TensorProto.FLOAT), *RAW["division"][0]]
    nodes[1].input[0] = "c"
    tensors = constants(**RAW["division"][1])
    shape = (2, 3, SIDE, SIDE)
    linear(
        path,
        {"out": 4},
        before=nodes,
        tensors=tensors,
        fed="n",
        shape=shape,
        dtype=TensorProto.FLOAT16,
    )
    assert find_normalisation(path, read_input(Session(path, 1)), SIDE).largest == 255
