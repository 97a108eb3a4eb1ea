import numpy as np
import onnx
import onnxruntime

from facedistill.export.int8.calibration import observe
from facedistill.export.int8.onnx_graph import OnnxGraph
from facedistill.export.int8.quantised_graph import quantise, values_to_observe
from tests.export.int8.graphs import Builder, compute, images, operators

X = images(8, 3, 8, 8)


def residual(build: Builder) -> str:
    """Max, sum, ReLU, depthwise and dense convolutions, and a fully connected layer."""
    one, other = build.conv("x", 8, 3, 3), build.conv("x", 8, 3, 3)
    start = build.node("Max", one, other)
    inner = build.node("Relu", build.conv(start, 8, 8, 3, group=8))
    total = build.node("Relu", build.node("Add", start, build.conv(inner, 8, 8)))
    return build.gemm(build.flat(total, 512), 128, 512)


def quantised(graph: OnnxGraph) -> OnnxGraph:
    quantise(graph, observe(graph, values_to_observe(graph), X, ""))
    return graph


def optimised(graph: OnnxGraph, path) -> list[str]:
    """Return the operators that ONNX Runtime really runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    options.optimized_model_filepath = str(path)
    model = graph.model().SerializeToString()
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_quantised_graph_is_close_and_runs_on_integer_kernels_only(tmp_path):
    build = Builder(3, 8, 8)
    graph = build.graph(residual(build), rank=2)
    before = compute(graph, X)
    after = compute(quantised(graph), X)
    assert cosine(before, after) > 0.999
    run = optimised(graph, tmp_path / "optimised.onnx")
    assert run.count("QLinearConv") == 4
    assert run.count("QLinearAdd") == run.count("QGemm") == 1
    assert not {"Conv", "Gemm", "Add", "Relu", "DequantizeLinear"} & set(run)


def test_a_maximum_of_copies_is_that_of_one_range():
    build = Builder(3, 8, 8)
    graph = build.graph(residual(build), rank=2)
    quantised(graph)
    largest = next(node for node in graph.nodes if node.op_type == "Max")
    made = [graph.producer(value) for value in largest.input]
    scales = {float(graph.constants[node.input[1]]) for node in made}
    zeros = {int(graph.constants[node.input[2]]) for node in made}
    assert len(scales) == len(zeros) == 1


def test_after_a_relu_no_level_is_spent_below_zero():
    build = Builder(3, 8, 8)
    value = build.node("Relu", build.conv("x", 8, 3, 3))
    graph = quantised(build.graph(build.conv(value, 4, 8)))
    relu = next(node for node in graph.nodes if node.op_type == "Relu")
    (stored,) = graph.consumers(relu.output[0])
    assert stored.op_type == "QuantizeLinear"
    assert graph.constants[stored.input[2]] == 0


def test_the_bias_takes_back_what_rounding_adds_on_average():
    build = Builder(3, 8, 8)
    graph = build.graph(build.gemm(build.flat("x", 192), 512, 192), rank=2)
    faces = (X + 3).astype(np.float32)  # a mean far from zero shows rounding best
    before = compute(graph, faces)
    quantise(graph, observe(graph, values_to_observe(graph), faces, ""))
    weight = graph.nodes[-1]
    shift = np.abs((compute(graph, faces) - before).mean(axis=0))
    assert weight.op_type == "Gemm"
    spread = before.std()
    assert shift.max() < 0.01 * spread


def test_a_network_of_floating_parts_keeps_them_and_is_close():
    build = Builder(3, 8, 8)
    value = build.node("Sigmoid", build.conv("x", 4, 3, 3))
    value = build.conv(value, 4, 4, group=2)
    graph = build.graph(build.node("GlobalAveragePool", build.conv(value, 6, 4)))
    before = compute(graph, X)
    after = compute(quantised(graph), X)
    assert {"Sigmoid", "GlobalAveragePool"} <= set(operators(graph))
    assert cosine(before, after) > 0.99


def test_pixels_normalised_in_floating_point_become_bytes_again():
    pixels = np.random.default_rng(5).integers(256, size=(8, 8, 8, 3), dtype=np.uint8)
    build = Builder(8, 8, 3, kind=onnx.TensorProto.UINT8)
    planes = build.node("Transpose", "x", perm=[0, 3, 1, 2])
    values = build.node("Cast", planes, to=onnx.TensorProto.FLOAT)
    values = build.node("Sub", values, build.tensor(np.reshape([90, 110, 130], (1, 3, 1, 1))))
    graph = build.graph(build.conv(values, 6, 3, 3))
    before = compute(graph, pixels)
    quantise(graph, observe(graph, values_to_observe(graph), pixels, ""))
    assert "QuantizeLinear" in operators(graph)[3:5]
    assert cosine(before, compute(graph, pixels)) > 0.999


def test_an_output_that_is_a_convolution_is_given_in_floating_point():
    build = Builder(3, 8, 8)
    graph = build.graph(build.node("Max", build.conv("x", 4, 3), build.conv("x", 4, 3)))
    before = compute(graph, X)
    assert cosine(before, compute(quantised(graph), X)) > 0.999
