"""Batch norms that stand alone become 1 x 1 depthwise convolutions.

The exporter folds a batch norm into the convolution before it. Before a padded convolution it
cannot be folded, since the padding is zero after it; there it stays, in floating point. As a
depthwise convolution of one weight and one bias per channel it is the same function, and one that
engines have int8 kernels for.
"""

from __future__ import annotations

import numpy as np

from facedistill.export.int8.onnx_graph import OnnxGraph, attribute

_EPSILON = 1e-5  # where the attribute is absent, by ONNX's specification


def rewrite_batch_norms(graph: OnnxGraph) -> int:
    """Rewrite every batch norm over (B, C, H, W) in place; return how many there were."""
    found = [
        node
        for node in graph.nodes
        if node.op_type == "BatchNormalization" and len(graph.shape(node.input[0])) == 4
    ]
    for node in found:
        scale, shift, mean, variance = (
            graph.constants[name].astype(np.float64) for name in node.input[1:5]
        )
        weight = scale / np.sqrt(variance + attribute(node, "epsilon", _EPSILON))
        bias = shift - mean * weight
        stem = node.output[0]
        convolution = graph.node(
            "Conv",
            [
                node.input[0],
                graph.constant(weight.astype(np.float32).reshape(-1, 1, 1, 1), f"{stem}.weight"),
                graph.constant(bias.astype(np.float32), f"{stem}.bias"),
            ],
            f"{stem}.batch_norm",
            group=len(weight),
            kernel_shape=[1, 1],
        )
        graph.replace(node, [convolution])
    return len(found)
