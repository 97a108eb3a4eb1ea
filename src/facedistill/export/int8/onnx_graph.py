"""An ONNX graph that can be rewritten: nodes in order of computation, constants as arrays.

Rewritings of this folder (`batch_norm_rewriting.py`, `prelu_rewriting.py`, ...) are functions that
take such a graph and change it in place; what the network computes stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper


class OnnxGraph:
    """The main graph of a model, for rewriting.

    Attributes:
        nodes: In an order in which they can be computed.
        constants: Weights and other stored tensors by name; several nodes may share one, so a
            rewriting that changes values adds a constant of its own.
        inputs: Names of what the caller gives.
        outputs: Names of what the caller gets.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = onnx.shape_inference.infer_shapes(model)
        self._model = model
        graph = inferred.graph
        self._shapes = {
            each.name: tuple(side.dim_value for side in each.type.tensor_type.shape.dim)
            for each in (*graph.input, *graph.value_info, *graph.output)
        }
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.inputs = [each.name for each in model.graph.input]
        self.outputs = [each.name for each in model.graph.output]
        self._taken = {*self.constants, *self.inputs}
        self._taken.update(name for node in self.nodes for name in node.output)

    def producer(self, value: str) -> NodeProto | None:
        """Return the node that computes a value; None of an input or a constant."""
        return next((node for node in self.nodes if value in node.output), None)

    def consumers(self, value: str) -> list[NodeProto]:
        """Return the nodes that read a value."""
        return [node for node in self.nodes if value in node.input]

    def only_consumer(self, value: str) -> NodeProto | None:
        """Return the one node that reads a value; None if there are several, or it is an output."""
        readers = self.consumers(value)
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def shape(self, value: str) -> tuple[int, ...]:
        """Return the sides of a value of the model as it was given, 0 for a dynamic one.

        Empty where the value is a scalar or its shape is not known.
        """
        return self._shapes.get(value, ())

    def constant(self, values: np.ndarray | np.generic, stem: str) -> str:
        """Store a tensor under a fresh name that begins with `stem`."""
        name = self.name(stem)
        self.constants[name] = np.asarray(values)
        return name

    def node(self, operator: str, inputs: Sequence[str], stem: str, **attributes: Any) -> NodeProto:
        """Return a new node with one output of a fresh name; the caller puts it into `nodes`."""
        name = self.name(stem)
        return onnx.helper.make_node(operator, list(inputs), [name], name=name, **attributes)

    def replace(self, node: NodeProto, others: Iterable[NodeProto]) -> None:
        """Put nodes in the place of one; the last of them takes over its output's name."""
        others = list(others)
        others[-1].output[0] = node.output[0]
        place = self.nodes.index(node)
        self.nodes[place : place + 1] = others

    def model(self) -> onnx.ModelProto:
        """Return the graph as a model: the given one's inputs, outputs, opsets and metadata."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        for part in (graph.node, graph.initializer, graph.value_info):
            del part[:]
        graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        graph.initializer.extend(
            numpy_helper.from_array(np.array(values, order="C"), name)
            for name, values in self.constants.items()
            if name in used
        )
        return model

    def name(self, stem: str) -> str:
        """Return a fresh name that begins with `stem`."""
        name, number = stem, 1
        while name in self._taken:
            name, number = f"{stem}_{number}", number + 1
        self._taken.add(name)
        return name


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return a node's attribute, or the default where it has none of that name."""
    return next(
        (onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name),
        default,
    )


def is_grouped(node: NodeProto) -> bool:
    """Whether a convolution's channels are in more than one group."""
    return attribute(node, "group", 1) != 1


def is_depthwise(graph: OnnxGraph, node: NodeProto) -> bool:
    """Whether each output channel of a convolution sees one input channel, its own."""
    weight = graph.constants[node.input[1]]
    return is_grouped(node) and weight.shape[1] == 1 and attribute(node, "group", 1) == len(weight)
