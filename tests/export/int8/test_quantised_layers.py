import pytest

from facedistill.export.int8.quantised_layers import is_layer
from tests.export.int8.graphs import Builder


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (lambda build: build.conv("x", 4, 4, 3), True),
        (lambda build: build.conv("x", 4, 4, 3, group=4), True),
        (lambda build: build.conv("x", 4, 4, 3, group=2), False),
        (lambda build: build.conv("x", 8, 4, 3, group=4), False),
    ],
    ids=["dense", "depthwise", "grouped", "depthwise with a multiplier"],
)
def test_convolutions_that_have_a_fast_kernel_are_layers(layer, wanted):
    build = Builder(4, 8, 8)
    graph = build.graph(layer(build))
    assert is_layer(graph, graph.nodes[0]) is wanted


@pytest.mark.parametrize(("outputs", "wanted"), [(1024, True), (4, False)])
def test_large_fully_connected_layers_alone_are_worth_it(outputs, wanted):
    build = Builder(64)
    graph = build.graph(build.gemm("x", outputs, 64), rank=2)
    assert is_layer(graph, graph.nodes[0]) is wanted
