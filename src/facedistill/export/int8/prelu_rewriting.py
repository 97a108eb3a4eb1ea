"""PReLUs become a maximum, for which engines have int8 kernels.

With slopes a of at most 1, PReLU(x) = max(x, a x), also where a is negative; a channel with a
larger one takes the minimum. ONNX Runtime has no int8 PReLU: left as it is, it would be computed in
floating point, between a conversion from bytes and one back. Where the slope goes:

- Into a second copy of the convolution before, of weights a W and bias a b, where that is cheap.
  Both copies may then be stored with the range of the maximum: what they lose below it, the maximum
  throws away. In int8 both copies hold the same whole numbers, with other scales.
- Else into a 1 x 1 depthwise convolution of weights a, which reads x and so needs x's whole range.
- Behind a grouped convolution, which stays in floating point, into a plain product: the maximum
  stays there too, since recent ONNX Runtimes take many times as long for a PReLU.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from facedistill.export.int8.onnx_graph import OnnxGraph
from facedistill.export.int8.quantised_layers import is_layer

LARGEST_COPY = 256
"""Weights of an output channel up to which a convolution is computed twice."""


def rewrite_prelus(graph: OnnxGraph) -> int:
    """Rewrite every PReLU over (B, C, H, W) in place; return how many there were."""
    found = [
        node
        for node in graph.nodes
        if node.op_type == "PRelu" and len(graph.shape(node.input[0])) == 4
    ]
    for node in found:
        graph.replace(node, _maximum(graph, node))
    return len(found)


def _maximum(graph: OnnxGraph, node: NodeProto) -> list[NodeProto]:
    """Return the nodes that do what a PReLU does."""
    value, slopes = node.input[0], graph.constants[node.input[1]].reshape(-1)
    slopes = np.broadcast_to(slopes, graph.shape(value)[1])
    maker = graph.producer(value)
    if maker is not None and maker.op_type == "Conv" and not is_layer(graph, maker):
        scaled = _product(graph, value, slopes)
    elif maker is not None and _is_cheap(graph, maker) and graph.only_consumer(value):
        scaled = _scaled_copy(graph, maker, slopes)
    else:
        scaled = _depthwise(graph, value, slopes)
    return [scaled, *_chosen(graph, value, scaled.output[0], slopes > 1)]


def _is_cheap(graph: OnnxGraph, maker: NodeProto) -> bool:
    if maker.op_type != "Conv" or len(maker.input) < 3:
        return False
    return graph.constants[maker.input[1]][0].size <= LARGEST_COPY


def _scaled_copy(graph: OnnxGraph, maker: NodeProto, slopes: np.ndarray) -> NodeProto:
    """Return the convolution that gives a x where `maker` gives x."""
    weight, bias = (graph.constants[name] for name in maker.input[1:3])
    stem = f"{maker.output[0]}.scaled"
    copy = graph.node("Conv", [maker.input[0]], stem)
    copy.attribute.extend(maker.attribute)
    scaled = weight * slopes.reshape(-1, 1, 1, 1)
    copy.input.append(graph.constant(scaled.astype(np.float32), f"{stem}.weight"))
    copy.input.append(graph.constant((bias * slopes).astype(np.float32), f"{stem}.bias"))
    return copy


def _product(graph: OnnxGraph, value: str, slopes: np.ndarray) -> NodeProto:
    """Return the multiplication that gives a x."""
    stem = f"{value}.scaled"
    factor = graph.constant(slopes.astype(np.float32).reshape(1, -1, 1, 1), f"{stem}.slopes")
    return graph.node("Mul", [value, factor], stem)


def _depthwise(graph: OnnxGraph, value: str, slopes: np.ndarray) -> NodeProto:
    """Return the depthwise convolution that gives a x."""
    weight = slopes.astype(np.float32).reshape(-1, 1, 1, 1)
    stem = f"{value}.scaled"
    return graph.node(
        "Conv",
        [value, graph.constant(weight, f"{stem}.weight")],
        stem,
        group=len(slopes),
        kernel_shape=[1, 1],
    )


def _chosen(graph: OnnxGraph, value: str, scaled: str, steep: np.ndarray) -> list[NodeProto]:
    """Return the nodes that take the larger of two values, and the smaller in steep channels."""
    larger = graph.node("Max", [value, scaled], f"{value}.larger")
    if not steep.any():
        return [larger]
    smaller = graph.node("Min", [value, scaled], f"{value}.smaller")
    mask = graph.constant(steep.reshape(1, -1, 1, 1), f"{value}.steep")
    chosen = graph.node("Where", [mask, smaller.output[0], larger.output[0]], f"{value}.chosen")
    return [larger, smaller, chosen]
