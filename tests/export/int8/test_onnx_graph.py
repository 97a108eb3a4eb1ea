import numpy as np

from facedistill.export.int8.onnx_graph import OnnxGraph, attribute, is_depthwise, is_grouped
from tests.export.int8.graphs import Builder, compute, images


def built():
    build = Builder(4, 5, 5)
    first = build.conv("x", 4, 4, 3, group=4)
    second = build.conv(first, 6, 4)
    other = build.conv(first, 6, 4, group=2)
    return build.graph(build.node("Add", second, other))


def test_unchanged_graph_is_the_model_it_came_from():
    graph = built()
    x = images(2, 4, 5, 5)
    np.testing.assert_array_equal(compute(graph, x), compute(OnnxGraph(graph.model()), x))


def test_makers_and_readers_of_a_value():
    graph = built()
    first, second, other, total = graph.nodes
    assert graph.producer(first.output[0]) is first
    assert graph.producer("x") is None
    assert graph.consumers(first.output[0]) == [second, other]
    assert graph.only_consumer(first.output[0]) is None
    assert graph.only_consumer(second.output[0]) is total
    assert graph.only_consumer(total.output[0]) is None  # the caller reads it


def test_kinds_of_convolutions():
    graph = built()
    depthwise, dense, grouped, _ = graph.nodes
    assert [is_depthwise(graph, node) for node in (depthwise, dense, grouped)] == [
        True,
        False,
        False,
    ]
    assert [is_grouped(node) for node in (depthwise, dense, grouped)] == [True, False, True]
    assert attribute(grouped, "group", 1) == 2
    assert attribute(grouped, "dilations", None) is None


def test_names_are_fresh_and_scalars_stay_scalars():
    graph = built()
    names = [graph.constant(np.float32(value), "scale") for value in (1, 2)]
    assert names == ["scale", "scale_1"]
    node = graph.node("Mul", [graph.nodes[0].output[0], names[1]], "t0")
    assert node.output[0] not in ("t0", "scale")
    made = graph.nodes[0]
    graph.replace(made, [made, node])
    assert [each.op_type for each in graph.nodes][:2] == ["Conv", "Mul"]
    stored = {tensor.name: list(tensor.dims) for tensor in graph.model().graph.initializer}
    assert stored[names[1]] == []
    assert names[0] not in stored  # no node reads it


def test_replacing_keeps_the_name_that_readers_know():
    graph = built()
    before = compute(graph, x := images(1, 4, 5, 5))
    node = graph.nodes[1]
    one = graph.constant(np.float32(1), "one")
    copy = type(node)()
    copy.CopyFrom(node)
    copy.output[0] = graph.name("inner")
    graph.replace(node, [copy, graph.node("Mul", [copy.output[0], one], "same")])
    np.testing.assert_array_equal(compute(graph, x), before)
