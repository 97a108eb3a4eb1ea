"""Which layers of a graph are quantised: those that have a fast integer kernel and enough to do."""

from __future__ import annotations

from onnx import NodeProto

from facedistill.export.int8.onnx_graph import OnnxGraph, attribute, is_depthwise, is_grouped

LEAST_GEMM = 2**16
"""Weights below which a fully connected layer stays in floating point."""


def is_layer(graph: OnnxGraph, node: NodeProto) -> bool:
    """Whether a node is a layer that is quantised.

    Convolutions are, dense and depthwise. Other grouped ones are not: ONNX Runtime's int8 kernel
    for them takes several times as long as the floating-point one.
    """
    if node.op_type not in ("Conv", "Gemm") or node.input[1] not in graph.constants:
        return False
    if node.op_type == "Conv":
        return not is_grouped(node) or is_depthwise(graph, node)
    plain = attribute(node, "transB", 0) == 1 and attribute(node, "transA", 0) == 0
    unscaled = attribute(node, "alpha", 1.0) == 1 and attribute(node, "beta", 1.0) == 1
    return plain and unscaled and graph.constants[node.input[1]].size >= LEAST_GEMM
