"""Raw pixels are bytes already: normalisation goes into the first convolution's weights.

A pixel p stands for (p - mean) / std. Read as a quantised value of scale 1 / std and zero point
round(mean) it is nearly that, and exact but for a constant that the first convolution's bias takes
up. Where padding meets the image's border the constant is counted for padded places too; it is
half a grey level at most, or nothing is folded.
"""

from __future__ import annotations

import numpy as np

from facedistill.export.int8.onnx_graph import OnnxGraph
from facedistill.runtime.input_spec import InputSpec

_LARGEST_SHIFT = 0.5  # grey levels
_PREPROCESSING = ("Transpose", "Cast", "Sub", "Div", "Slice", "Gather")


def fold_preprocessing(graph: OnnxGraph, spec: InputSpec) -> bool:
    """Let the first convolution read bytes, in place.

    Args:
        graph: Whose input is uint8 RGB (B, S, S, 3), and whose preprocessing does what `spec` says.
        spec: Colour order, mean and std.

    Returns:
        Whether it was done: not where means are further than half a level from one whole number, or
        where preprocessed pixels go elsewhere than into one convolution of all three channels.
    """
    mean, std = np.array(spec.mean), np.array(spec.std)
    zero_point = int(np.clip(np.rint(mean[0]), 0, 255))
    shift = zero_point - mean
    chain = []
    node = graph.only_consumer(graph.inputs[0])
    while node is not None and node.op_type in _PREPROCESSING:
        chain.append(node)
        node = graph.only_consumer(node.output[0])
    first = node
    if first is None or first.op_type != "Conv" or np.abs(shift).max() > _LARGEST_SHIFT:
        return False
    weight = graph.constants[first.input[1]].astype(np.float64)
    if weight.shape[1] != 3:
        return False
    bias = np.zeros(len(weight))
    if len(first.input) > 2:
        bias += graph.constants[first.input[2]]
    bias += (weight * (shift / std).reshape(1, 3, 1, 1)).sum(axis=(1, 2, 3))
    weight *= (std[0] / std).reshape(1, 3, 1, 1)
    if spec.color == "BGR":
        weight = weight[:, ::-1]
    pixels = graph.node("Transpose", [graph.inputs[0]], "pixels", perm=[0, 3, 1, 2])
    normalised = graph.node(
        "DequantizeLinear",
        [
            pixels.output[0],
            graph.constant(np.float32(1 / std[0]), "pixel_scale"),
            graph.constant(np.uint8(zero_point), "pixel_zero_point"),
        ],
        "normalised",
    )
    stem = first.output[0]
    first.input[:] = [
        normalised.output[0],
        graph.constant(weight.astype(np.float32), f"{stem}.weight"),
        graph.constant(bias.astype(np.float32), f"{stem}.bias"),
    ]
    graph.nodes = [pixels, normalised, *(each for each in graph.nodes if each not in chain)]
    return True
