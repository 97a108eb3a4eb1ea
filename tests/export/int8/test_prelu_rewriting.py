import numpy as np
import pytest

from facedistill.export.int8.prelu_rewriting import LARGEST_COPY, rewrite_prelus
from tests.export.int8.graphs import Builder, compute, images, operators

SLOPES = {
    "usual": [0.25, 0.1, 0.9, 0.0],
    "negative": [-0.3, -2.0, 0.5, 1.0],
    "steep": [1.5, 0.2, 30.0, -1.0],
    "one for all": [0.25],
}


def activated(slopes, kernel=1, group=1, inputs=4):
    build = Builder(inputs, 6, 6)
    made = build.conv("x", 4, inputs, kernel, group=group)
    return build.graph(build.prelu(made, slopes)), images(2, inputs, 6, 6)


@pytest.mark.parametrize("slopes", SLOPES.values(), ids=SLOPES)
@pytest.mark.parametrize(("kernel", "group"), [(1, 1), (3, 1), (3, 4), (3, 2)])
def test_rewritten_graph_computes_the_same(slopes, kernel, group):
    graph, x = activated(slopes, kernel, group)
    before = compute(graph, x)
    assert rewrite_prelus(graph) == 1
    assert "PRelu" not in operators(graph)
    np.testing.assert_allclose(compute(graph, x), before, rtol=1e-5, atol=1e-5)


def test_a_cheap_convolution_is_computed_twice_a_large_one_is_scaled():
    cheap, _ = activated([0.1] * 4)
    large, x = activated([0.1] * 4, inputs=LARGEST_COPY + 1)
    before = compute(large, x)
    for graph in (cheap, large):
        rewrite_prelus(graph)
        assert operators(graph) == ["Conv", "Conv", "Max"]
    assert [node.input[0] for node in cheap.nodes[:2]] == ["x", "x"]
    assert large.nodes[1].input[0] == large.nodes[0].output[0]
    np.testing.assert_allclose(compute(large, x), before, rtol=1e-5, atol=1e-4)


def test_behind_a_grouped_convolution_the_maximum_is_plain():
    graph, _ = activated([0.1] * 4, group=2)
    rewrite_prelus(graph)
    assert operators(graph) == ["Conv", "Mul", "Max"]


def test_what_others_read_too_and_what_no_convolution_made_is_scaled():
    build = Builder(4, 6, 6)
    made = build.conv("x", 4, 4)
    graph = build.graph(build.node("Add", build.prelu(made, [0.2] * 4), build.prelu(made, [0.4])))
    before = compute(graph, x := images(1, 4, 6, 6))
    assert rewrite_prelus(graph) == 2
    np.testing.assert_allclose(compute(graph, x), before, rtol=1e-5, atol=1e-5)

    build = Builder(4, 6, 6)
    graph = build.graph(build.prelu("x", [0.2] * 4))
    rewrite_prelus(graph)
    np.testing.assert_allclose(compute(graph, x), np.where(x > 0, x, 0.2 * x), rtol=1e-6)


def test_steep_channels_alone_take_a_minimum():
    gentle, _ = activated(SLOPES["usual"])
    steep, _ = activated(SLOPES["steep"])
    for graph in (gentle, steep):
        rewrite_prelus(graph)
    assert "Where" not in operators(gentle)
    assert operators(steep) == ["Conv", "Conv", "Max", "Min", "Where"]
