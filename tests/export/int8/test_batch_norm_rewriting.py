import numpy as np

from facedistill.export.int8.batch_norm_rewriting import rewrite_batch_norms
from tests.export.int8.graphs import Builder, compute, images, operators


def statistics(build, channels):
    mean, scale, shift = build.draw.normal(size=(3, channels))
    variance = build.draw.uniform(0.1, 4, channels)
    return [build.tensor(each) for each in (scale, shift, mean, variance)]


def test_a_batch_norm_before_a_padded_convolution_becomes_a_depthwise_convolution():
    build = Builder(3, 6, 6)
    normalised = build.node("BatchNormalization", "x", *statistics(build, 3), epsilon=0.01)
    graph = build.graph(build.conv(normalised, 5, 3, 3))
    before = compute(graph, x := images(2, 3, 6, 6))
    assert rewrite_batch_norms(graph) == 1
    assert operators(graph) == ["Conv", "Conv"]
    np.testing.assert_allclose(compute(graph, x), before, rtol=1e-5, atol=1e-5)


def test_the_default_epsilon_is_onnxs_own():
    build = Builder(3, 2, 2)
    tensors = statistics(build, 3)[:3]
    tiny = build.tensor(np.full(3, 1e-6))
    graph = build.graph(build.node("BatchNormalization", "x", *tensors, tiny))
    before = compute(graph, x := images(1, 3, 2, 2))
    rewrite_batch_norms(graph)
    np.testing.assert_allclose(compute(graph, x), before, rtol=1e-5)


def test_a_batch_norm_over_vectors_stays():
    build = Builder(3)
    graph = build.graph(build.node("BatchNormalization", "x", *statistics(build, 3)), rank=2)
    assert rewrite_batch_norms(graph) == 0
    assert operators(graph) == ["BatchNormalization"]
