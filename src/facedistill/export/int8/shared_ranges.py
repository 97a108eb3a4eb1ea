"""Which values of a graph are stored with one and the same quantisation.

A maximum compares bytes as they are, so what it reads and what it gives must mean the same; a
reshape hands bytes on. Of such a group only some values decide on the range: those that something
else reads. A value that is only compared may be cut off, since what is below the maximum's range
cannot be the maximum. Maxima of values that no quantised layer gives stay in floating point.
"""

from __future__ import annotations

from onnx import NodeProto

from facedistill.export.int8.onnx_graph import OnnxGraph
from facedistill.export.int8.quantised_layers import is_layer

_COMPARING = ("Max", "Min", "Where")
_PASSING = ("Reshape", "Flatten", "Transpose", "MaxPool")
KEEPING = (*_COMPARING, *_PASSING)
"""Operators that need no arithmetic: they work on bytes as on numbers."""


class SharedRanges:
    """The groups of a graph's values, by `KEEPING` operators."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._parent: dict[str, str] = {}
        self._members: dict[str, list[str]] = {}
        stored: set[str] = set()
        for node in graph.nodes:
            kept = kept_values(graph, node) if node.op_type in KEEPING else []
            if is_layer(graph, node):
                stored.update(node.output)
            elif node.op_type in _PASSING or stored.intersection(kept):
                stored.update(node.output)
                for value in kept:
                    self._parent[self.group(value)] = self.group(node.output[0])
        for node in graph.nodes:
            for value in (*node.input, *node.output):
                members = self._members.setdefault(self.group(value), [])
                if value not in members:
                    members.append(value)

    def group(self, value: str) -> str:
        """Return the name of the group that a value is in."""
        while (parent := self._parent.get(value, value)) != value:
            value = parent
        return value

    def deciding(self, value: str) -> list[str]:
        """Return those of a value's group whose range must be kept."""
        members = self._members[self.group(value)]
        deciding = [member for member in members if self._decides(member)]
        return deciding or members

    def _decides(self, value: str) -> bool:
        if value in self._graph.outputs:
            return True
        # Where a minimum is taken too, being cut off below is being wrong.
        return any(
            node.op_type not in KEEPING or node.op_type in ("Min", "Where")
            for node in self._graph.consumers(value)
        )


def kept_values(graph: OnnxGraph, node: NodeProto) -> list[str]:
    """Return the inputs of a `KEEPING` node that it hands on: no shapes, no masks."""
    inputs = node.input if node.op_type in _COMPARING else node.input[:1]
    return [value for value in inputs if value not in graph.constants]
