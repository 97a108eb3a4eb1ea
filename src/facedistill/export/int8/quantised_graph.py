"""A graph in floating point becomes one of bytes, in standard ONNX.

Layers are written as ONNX's documentation has it: DequantizeLinear before, QuantizeLinear after the
operator in floating point. Engines know the pattern and run one integer kernel in its place; one
that does not still computes the right values. Maxima and reshapes work on the bytes themselves.

Quantised are the layers of `quantised_layers.py` and sums of quantised values. What a fully
connected layer gives stays in floating point: it is the embedding. So does everything else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto

from facedistill.export.int8.bias_correction import mean_shift
from facedistill.export.int8.calibration import Observation
from facedistill.export.int8.onnx_graph import OnnxGraph, is_depthwise
from facedistill.export.int8.quantisation import Quantisation, quantise_weight
from facedistill.export.int8.quantised_layers import is_layer
from facedistill.export.int8.shared_ranges import KEEPING, SharedRanges, kept_values


def values_to_observe(graph: OnnxGraph) -> list[str]:
    """Return the values whose `Observation`s `quantise` needs, in the graph's order."""
    ranges = SharedRanges(graph)
    stored: list[str] = []
    for node in graph.nodes:
        if is_layer(graph, node):
            stored.append(node.input[0])
        if is_layer(graph, node) or node.op_type in ("Add", "Relu"):
            stored.extend(node.output)
    wanted = {member for value in stored for member in ranges.deciding(value)}
    computed = {value for node in graph.nodes for value in node.output}
    return sorted(wanted & {*computed, *graph.inputs})


def quantise(graph: OnnxGraph, observations: Mapping[str, Observation]) -> None:
    """Quantise a graph in place.

    Args:
        graph: Of PReLUs rewritten; a DequantizeLinear in it gives its input's own quantisation.
        observations: Of all `values_to_observe`.
    """
    _Quantiser(graph, observations).run()


class _Quantiser:
    """Writes the nodes of a quantised graph, one after the other.

    Attributes:
        nodes: Written so far.
        stored: By value, the name of its bytes and what they mean.
        floating: By value, the name under which it is had in floating point.
    """

    def __init__(self, graph: OnnxGraph, observations: Mapping[str, Observation]) -> None:
        self.graph = graph
        self.observations = observations
        self.ranges = SharedRanges(graph)
        self.by_group: dict[str, Quantisation] = {}
        self.nodes: list[NodeProto] = []
        self.stored: dict[str, tuple[str, Quantisation]] = {}
        self.floating = {name: name for name in graph.inputs}

    def run(self) -> None:
        activated: set[str] = set()
        for node in self.graph.nodes:
            given = [value for value in node.input if value in self.stored]
            if node.output[0] in activated:
                continue
            if is_layer(self.graph, node):
                value, result = self._layer(node)
            elif node.op_type == "Add" and len(given) == 2:
                value, result = self._sum(node)
            elif node.op_type in KEEPING and given:
                self._keep(node)
                continue
            else:
                self._copy(node)
                continue
            if node.op_type == "Gemm" or value in self.graph.outputs:
                self.floating[value] = result
                continue
            following = self.graph.only_consumer(value)
            if following is not None and following.op_type == "Relu":
                result = self._write("Relu", [result], f"{value}.activated")
                value = following.output[0]
                activated.add(value)
            self._store(value, result)
        self._give_outputs()
        self.graph.nodes = self.nodes

    def _layer(self, node: NodeProto) -> tuple[str, str]:
        """Write a layer between bytes; return its output and the name of that in floating point."""
        value = node.output[0]
        given, quantisation = self._read(node.input[0])
        weight, bias = self._parameters(node, quantisation)
        written = NodeProto()
        written.CopyFrom(node)
        written.input[:] = [given, weight, bias]
        if node.op_type == "Conv" and value not in self.graph.outputs:
            written.output[0] = self.graph.name(f"{value}.real")
        self.nodes.append(written)
        return value, written.output[0]

    def _parameters(self, node: NodeProto, given: Quantisation) -> tuple[str, str]:
        """Write a layer's quantised weight and corrected bias; return their names."""
        constants, value = self.graph.constants, node.output[0]
        weight = constants[node.input[1]].astype(np.float64)
        bias = np.zeros(len(weight))
        if len(node.input) > 2:
            bias = bias + constants[node.input[2]]
        levels, scale, _ = quantise_weight(weight, bias, given.scale)
        error = levels * scale.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float64) - weight
        depthwise = node.op_type == "Conv" and is_depthwise(self.graph, node)
        bias -= mean_shift(error, self.observations[node.input[0]].mean, depthwise=depthwise)
        levels, scale, whole = quantise_weight(weight, bias, given.scale)
        return (
            self._constant_levels(f"{value}.weight", levels, scale),
            self._constant_levels(f"{value}.bias", whole, scale * np.float32(given.scale)),
        )

    def _constant_levels(self, stem: str, levels: np.ndarray, scale: np.ndarray) -> str:
        stored = [
            self.graph.constant(levels, f"{stem}.levels"),
            self.graph.constant(scale.astype(np.float32), f"{stem}.scale"),
            self.graph.constant(np.zeros(len(scale), levels.dtype), f"{stem}.zero_point"),
        ]
        return self._write("DequantizeLinear", stored, stem, axis=0)

    def _sum(self, node: NodeProto) -> tuple[str, str]:
        value = node.output[0]
        given = [self._read(each)[0] for each in node.input]
        return value, self._write("Add", given, f"{value}.real")

    def _keep(self, node: NodeProto) -> None:
        """Write a node that works on bytes."""
        value = node.output[0]
        kept = kept_values(self.graph, node)
        written = NodeProto()
        written.CopyFrom(node)
        written.input[:] = [self._bytes(each)[0] if each in kept else each for each in node.input]
        written.output[0] = self.graph.name(f"{value}.levels")
        self.nodes.append(written)
        self.stored[value] = (written.output[0], self._quantisation(value))

    def _copy(self, node: NodeProto) -> None:
        """Write a node as it is, in floating point."""
        if node.op_type == "DequantizeLinear":
            scale, zero_point = (self.graph.constants[name] for name in node.input[1:3])
            quantisation = Quantisation(float(scale), int(zero_point))
            self.stored[node.output[0]] = (node.input[0], quantisation)
            return
        written = NodeProto()
        written.CopyFrom(node)
        written.input[:] = [self._real(each) for each in node.input]
        self.nodes.append(written)
        self.floating.update({value: value for value in node.output})

    def _quantisation(self, value: str) -> Quantisation:
        group = self.ranges.group(value)
        if group not in self.by_group:
            deciding = self.ranges.deciding(value)
            samples = np.concatenate([self.observations[each].samples for each in deciding], axis=1)
            self.by_group[group] = Quantisation.of_samples(samples)
        return self.by_group[group]

    def _store(self, value: str, real: str) -> None:
        """Write a value's quantisation, from the name under which it is had."""
        quantisation = self._quantisation(value)
        levels = self._write(
            "QuantizeLinear", [real, *self._meaning(quantisation, value)], f"{value}.levels"
        )
        self.stored[value] = (levels, quantisation)

    def _bytes(self, value: str) -> tuple[str, Quantisation]:
        if value not in self.stored:
            self._store(value, self.floating[value])
        return self.stored[value]

    def _read(self, value: str) -> tuple[str, Quantisation]:
        """Write a value's way back from bytes, one of its own for each reader: engines want it."""
        levels, quantisation = self._bytes(value)
        meaning = self._meaning(quantisation, value)
        return self._write("DequantizeLinear", [levels, *meaning], f"{value}.read"), quantisation

    def _real(self, value: str) -> str:
        """Return the name under which a value is had in floating point."""
        if value not in self.floating and value in self.stored:
            self.floating[value] = self._read(value)[0]
        return self.floating.get(value, value)

    def _meaning(self, quantisation: Quantisation, value: str) -> list[str]:
        return [
            self.graph.constant(np.float32(quantisation.scale), f"{value}.scale"),
            self.graph.constant(np.uint8(quantisation.zero_point), f"{value}.zero_point"),
        ]

    def _write(self, operator: str, inputs: list[str], stem: str, **attributes: int) -> str:
        node = self.graph.node(operator, inputs, stem, **attributes)
        self.nodes.append(node)
        return node.output[0]

    def _give_outputs(self) -> None:
        """Write the way back of outputs that ended as bytes."""
        for value in self.graph.outputs:
            if value in self.stored:
                levels, quantisation = self.stored[value]
                inputs = [levels, *self._meaning(quantisation, value)]
                self.nodes.append(self.graph.node("DequantizeLinear", inputs, value))
                self.nodes[-1].output[0] = value
