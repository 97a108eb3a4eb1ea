import numpy as np
import pytest

from facedistill.export.int8.calibration import Extent
from facedistill.export.int8.calibration import extents as measured
from facedistill.export.int8.equalisation import equalise, reach
from tests.export.int8.graphs import Builder, compute, images, operators

UNLIKE = [1.0, 3.0, 0.5, 0.9]
X = images(6, 3, 6, 6)


def depthwise_reader():
    build = Builder(3, 6, 6)
    value = build.prelu(build.conv("x", 4, 3, scale=UNLIKE), [0.2, -0.1, 0.5, 0.0])
    return build.graph(build.conv(value, 4, 4, 3, group=4))


def dense_reader():
    build = Builder(3, 6, 6)
    value = build.node("Relu", build.conv("x", 4, 3, scale=UNLIKE))
    return build.graph(build.conv(value, 5, 4))


def gemm_reader():
    build = Builder(3, 6, 6)
    flat = build.flat(build.conv("x", 4, 3, scale=UNLIKE), 4 * 36)
    return build.graph(build.gemm(flat, 5, 4 * 36), rank=2)


def extents(graph) -> dict[str, Extent]:
    given = [node.input[0] for node in graph.nodes if node.op_type in ("Conv", "Gemm")][1:]
    return measured(graph, given, X, "")


def reached(graph) -> np.ndarray:
    (extent,) = extents(graph).values()
    return reach(extent.low, extent.high)


@pytest.mark.parametrize("build", [depthwise_reader, dense_reader, gemm_reader])
def test_equalised_graph_computes_the_same(build):
    graph = build()
    before = compute(graph, X)
    assert equalise(graph, extents(graph)) == 1
    np.testing.assert_allclose(compute(graph, X), before, rtol=1e-4, atol=1e-3)


def test_before_a_depthwise_convolution_all_channels_fit_one_range():
    graph = depthwise_reader()
    before = reached(graph)
    equalise(graph, extents(graph))
    after = reached(graph)
    assert before.max() / before.min() > 3
    np.testing.assert_allclose(after, after[0], rtol=1e-3)


def test_before_a_dense_layer_activations_and_weights_share_what_differs():
    graph = dense_reader()
    activations = reached(graph)
    weight = np.abs(graph.constants[graph.nodes[-1].input[1]])
    columns = np.zeros(4)
    for row in weight:
        for channel in range(4):
            columns[channel] = max(columns[channel], row[channel, 0, 0] / row.max())
    equalise(graph, extents(graph))
    after, wanted = reached(graph), np.sqrt(activations * columns)
    np.testing.assert_allclose(after / after[0], wanted / wanted[0], rtol=1e-3)


def test_activations_alone_at_a_balance_of_one():
    graph = dense_reader()
    equalise(graph, extents(graph), balance=1.0)
    after = reached(graph)
    np.testing.assert_allclose(after, after[0], rtol=1e-3)


def test_a_channel_that_never_moves_is_not_blown_up():
    graph = depthwise_reader()
    (name,) = extents(graph)
    still = Extent(low=np.zeros(4), high=np.array([1.0, 0.0, 2.0, 3.0]))
    before = compute(graph, X)
    was = graph.constants[graph.nodes[0].input[1]]
    equalise(graph, {name: still})
    factors = graph.constants[graph.nodes[0].input[1]][:, 0, 0, 0] / was[:, 0, 0, 0]
    assert factors.max() / factors.min() == pytest.approx(10, rel=1e-4)
    np.testing.assert_allclose(compute(graph, X), before, rtol=1e-4, atol=1e-3)


def test_common_range_does_not_stretch_for_the_few_that_reach_below_zero():
    low, high = np.array([-0.1] * 7 + [-1.0]), np.array([1.0] * 7 + [0.2])
    errors = {
        side: sum(
            ((1 + side) * max(up, -down / side) / (up - down)) ** 2
            for down, up in zip(low, high, strict=True)
        )
        for side in np.geomspace(0.02, 50, 500)
    }
    best = min(errors, key=errors.get)
    assert best < 0.5
    np.testing.assert_allclose(reach(low, high), np.maximum(high, -low / best), rtol=0.15)
    assert reach(low, high)[0] == 1.0  # the many are not squeezed


def test_nothing_below_zero_and_nothing_above():
    ends = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(reach(np.zeros(3), ends), ends)
    scaled = reach(-ends, np.zeros(3))
    np.testing.assert_allclose(scaled / scaled[0], ends)


def test_what_several_read_and_what_is_grouped_is_left_alone():
    build = Builder(3, 6, 6)
    value = build.conv("x", 4, 3, scale=UNLIKE)
    shared = build.graph(build.node("Add", build.conv(value, 4, 4), value))
    build = Builder(3, 6, 6)
    grouped = build.graph(build.conv(build.conv("x", 4, 3, scale=UNLIKE), 4, 4, group=2))
    for graph in (shared, grouped):
        weights = [node.input[1] for node in graph.nodes if node.op_type == "Conv"]
        assert equalise(graph, extents(graph)) == 0
        assert [node.input[1] for node in graph.nodes if node.op_type == "Conv"] == weights
        assert "Conv" in operators(graph)
