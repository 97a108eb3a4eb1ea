"""Channels of one layer's output get alike ranges, without changing what the network computes.

Activations are quantised with one range for all channels of a value, so that a channel of small
values gets few of the 256 levels. A channel may be scaled by s in the layer that makes it and by
1 / s in the one that reads it, since ReLU and PReLU keep positive factors: Nagel et al.,
"Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019, equation 7.
Weights are quantised with a scale for each output channel, so the maker's weights do not care, and
a depthwise reader's neither: there activations alone decide. A dense reader mixes the channels in
each of its rows; there the scale balances activations against its weights, as equation 11 of Nagel
et al. does between two weights, and as Xiao et al., "SmoothQuant", ICML 2023, equation 4, does.

A channel reaches unequally far to both sides of zero, and a PReLU's channels differ in that. The
range that all are to fit, from -w to 1, is the one in which rounding does the least harm: a few
channels that reach far below zero must not cost all others half of their levels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto

from facedistill.export.int8.calibration import Extent
from facedistill.export.int8.onnx_graph import OnnxGraph, attribute, is_depthwise, is_grouped

_ACTIVATIONS = ("PRelu", "Relu", "LeakyRelu")
_LARGEST_FACTOR = 10
"""Of the largest to a smaller channel: one that hardly moves on these faces may on others."""
_SIDES = np.geomspace(0.02, 50, 60)
"""Candidates for w, how far the common range reaches below zero."""


def equalise(graph: OnnxGraph, extents: Mapping[str, Extent], *, balance: float = 0.5) -> int:
    """Equalise every pair of layers that a channel connects, in place.

    Args:
        graph: PReLUs not yet rewritten.
        extents: Of what layers are given, by value's name.
        balance: Share of the activations' ranges, over that of the weights, in a dense reader's
            scales: 1 equalises activations alone.

    Returns:
        Number of pairs.
    """
    pairs = 0
    for node in list(graph.nodes):
        if node.op_type != "Conv":
            continue
        reader, value, places = _reader(graph, node)
        if reader is None or value not in extents:
            continue
        low = extents[value].low.reshape(-1, places).min(axis=1)
        high = extents[value].high.reshape(-1, places).max(axis=1)
        depthwise = reader.op_type == "Conv" and is_depthwise(graph, reader)
        columns = None if depthwise else _columns(graph, reader, places)
        factors = _factors(reach(low, high), columns, balance)
        _scale_maker(graph, node, factors)
        _scale_reader(graph, reader, np.repeat(1 / factors, places))
        pairs += 1
    return pairs


def reach(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the factor between each channel and the common range [-w, 1] that it just fits.

    Args:
        low: Lower end of each channel, at most 0.
        high: Upper end of each channel, at least 0.

    Returns:
        max(high, -low / w), for the w of least squared rounding error over the channels, each
        measured by its own width: a channel's error is as the range's width, 1 + w, times its
        factor.
    """
    width = np.maximum(high - low, 1e-12)
    factors = [np.maximum(high, -low / side) for side in _SIDES]
    errors = [
        float(np.square((1 + side) * factor / width).sum())
        for side, factor in zip(_SIDES, factors, strict=True)
    ]
    return factors[int(np.argmin(errors))]


def _reader(graph: OnnxGraph, maker: NodeProto) -> tuple[NodeProto | None, str, int]:
    """Return the layer that alone reads a layer's channels, its input, and places per channel."""
    value, places = maker.output[0], 1
    channels = graph.constants[maker.input[1]].shape[0]
    node = graph.only_consumer(value)
    while node is not None and node.op_type in (*_ACTIVATIONS, "Reshape", "Flatten"):
        value = node.output[0]
        node = graph.only_consumer(value)
    if node is None or node.op_type not in ("Conv", "Gemm") or value not in node.input[:1]:
        return None, value, places
    if node.input[1] not in graph.constants:
        return None, value, places
    if node.op_type == "Gemm":
        if not attribute(node, "transB", 0) or attribute(node, "transA", 0):
            return None, value, places
        places = graph.constants[node.input[1]].shape[1] // channels
    elif is_grouped(node) and not is_depthwise(graph, node):
        return None, value, places
    return node, value, places


def _columns(graph: OnnxGraph, reader: NodeProto, places: int) -> np.ndarray:
    """Return the largest magnitude of a dense reader's weights by channel, over their rows'."""
    weight = np.abs(graph.constants[reader.input[1]])
    rows = weight / weight.max(axis=tuple(range(1, weight.ndim)), keepdims=True).clip(1e-12)
    columns = rows.max(axis=(0, *range(2, weight.ndim)))
    return columns.reshape(-1, places).max(axis=1)


def _factors(
    extent: np.ndarray, columns: np.ndarray | None = None, balance: float = 1.0
) -> np.ndarray:
    """Return each channel's scale; their geometric mean is 1."""
    factors = 1 / np.maximum(extent, max(extent.max() / _LARGEST_FACTOR, 1e-12))
    if columns is not None:
        columns = np.maximum(columns, max(columns.max() / _LARGEST_FACTOR, 1e-12))
        factors = columns ** (1 - balance) * factors**balance
    return factors / np.exp(np.log(factors).mean())


def _scale_maker(graph: OnnxGraph, maker: NodeProto, factors: np.ndarray) -> None:
    weight = graph.constants[maker.input[1]]
    shape = (-1, *[1] * (weight.ndim - 1))
    _exchange(graph, maker, 1, weight * factors.reshape(shape))
    if len(maker.input) > 2:
        _exchange(graph, maker, 2, graph.constants[maker.input[2]] * factors)


def _scale_reader(graph: OnnxGraph, reader: NodeProto, factors: np.ndarray) -> None:
    weight = graph.constants[reader.input[1]]
    depthwise = reader.op_type == "Conv" and is_depthwise(graph, reader)
    axis = 0 if depthwise else 1
    shape = [1] * weight.ndim
    shape[axis] = -1
    _exchange(graph, reader, 1, weight * factors.reshape(shape))


def _exchange(graph: OnnxGraph, node: NodeProto, place: int, values: np.ndarray) -> None:
    node.input[place] = graph.constant(values.astype(np.float32), node.input[place])
