import numpy as np
import pytest
from onnx import TensorProto

from facedistill.export.int8.preprocessing_folding import fold_preprocessing
from facedistill.runtime.input_spec import InputSpec
from tests.export.int8.graphs import Builder, compute, operators

PIXELS = np.random.default_rng(5).integers(256, size=(2, 8, 8, 3), dtype=np.uint8)


def normalised(spec: InputSpec, pad: int, *, bias: bool = True, group: int = 1):
    build = Builder(8, 8, 3, kind=TensorProto.UINT8)
    planes = build.node("Transpose", "x", perm=[0, 3, 1, 2])
    if spec.color == "BGR":
        bounds = [build.tensor([each], np.int64) for each in (2, -10, 1, -1)]
        planes = build.node("Slice", planes, *bounds)
    values = build.node("Cast", planes, to=TensorProto.FLOAT)
    for operator, numbers in (("Sub", spec.mean), ("Div", spec.std)):
        values = build.node(operator, values, build.tensor(np.reshape(numbers, (1, 3, 1, 1))))
    made = build.node(
        "Conv",
        values,
        build.tensor(build.draw.normal(size=(6, 3 // group, 3, 3))),
        *([build.tensor(build.draw.normal(size=6))] if bias else []),
        pads=[pad] * 4,
        group=group,
    )
    return build.graph(made)


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(size=8),
        InputSpec(size=8, color="BGR"),
        InputSpec(size=8, color="BGR", mean=(127.5, 128.0, 128.4), std=(127.5, 60.0, 50.0)),
        InputSpec(size=8, mean=(0, 0, 0), std=(255, 255, 255)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_pixels_go_into_the_convolution_as_bytes(spec, bias):
    graph = normalised(spec, pad=0, bias=bias)
    before = compute(graph, PIXELS)
    assert fold_preprocessing(graph, spec)
    assert operators(graph) == ["Transpose", "DequantizeLinear", "Conv"]
    np.testing.assert_allclose(compute(graph, PIXELS), before, rtol=1e-4, atol=1e-4)


def test_at_the_border_it_is_off_by_half_a_grey_level_at_most():
    spec = InputSpec(size=8)
    graph = normalised(spec, pad=1)
    before = compute(graph, PIXELS)
    fold_preprocessing(graph, spec)
    after = compute(graph, PIXELS)
    np.testing.assert_allclose(after[..., 1:-1, 1:-1], before[..., 1:-1, 1:-1], atol=1e-4)
    weight = np.abs(graph.constants[graph.nodes[-1].input[1]]).sum(axis=(1, 2, 3))
    assert np.abs(after - before).max() <= 0.5 / 127.5 * weight.max() + 1e-4


def test_a_convolution_of_each_channel_alone_is_left_alone():
    spec = InputSpec(size=8)
    graph = normalised(spec, pad=1, group=3)
    before = operators(graph)
    assert not fold_preprocessing(graph, spec)
    assert operators(graph) == before


def test_means_far_apart_are_left_alone():
    spec = InputSpec(size=8, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    graph = normalised(spec, pad=1)
    before = operators(graph)
    assert not fold_preprocessing(graph, spec)
    assert operators(graph) == before


def test_pixels_that_go_elsewhere_too_are_left_alone():
    build = Builder(3, 3, 3, kind=TensorProto.UINT8)
    planes = build.node("Transpose", "x", perm=[0, 3, 1, 2])
    values = build.node("Cast", planes, to=TensorProto.FLOAT)
    graph = build.graph(build.node("Add", build.conv(values, 3, 3), values))
    assert not fold_preprocessing(graph, InputSpec(size=3))
