"""Whether an ONNX graph normalises pixels itself, and is to be fed as they are.

MXNet's ArcFace exports begin with (x - 127.5) * 0.0078125, others with a division by 255 or a batch
norm. What stands before the first layer with weights is cut out and run on constant images: where
it maps some range of pixels to small numbers around zero, that range is what the graph is fed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from facedistill.core.regular_files import open_regular
from facedistill.models.onnx.graph_input import GraphInput

_LEVELS = (0.0, 64.0, 128.0, 255.0)
_SPREADS = (0.3, 5.0)
"""Half the range of what networks take."""
_LARGEST_CENTRE = 1.5
"""Furthest that the middle of it is from zero: of x / 255 it is 0.5."""
_LARGEST_CENTRE_OF_UNIT = 0.3
"""The same where 0..1 goes in: a batch norm of -1..1 would look alike."""
_MOST_NODES, _MOST_BYTES = 32, 1 << 20
"""Of the part that is cut out: normalisation is small."""

_ARITHMETIC = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Neg",
    "Cast",
    "Identity",
    "BatchNormalization",
    "Dropout",
}
_ORDER = {"Transpose", "Split", "Concat", "Slice", "Gather", "Squeeze", "Unsqueeze"}
_OTHERS = {"Reshape", "Flatten", "Pad", "Dropout"}
_PASSED = _ARITHMETIC | _ORDER | _OTHERS
"""Operators that normalisation, and swapping of channels, are written with."""


@dataclass(frozen=True)
class OwnNormalisation:
    """What a graph does to pixels before its first layer.

    Attributes:
        largest: The pixel's value in 0..`largest` that the graph takes: 255 or 1.
        low: What the least becomes, as the mean over channels.
        high: What the largest becomes.
    """

    largest: int
    low: float
    high: float

    @property
    def std(self) -> tuple[float, float, float]:
        """What pixels 0..255 are divided by before they are fed; nothing is subtracted."""
        return (255.0 / self.largest,) * 3

    @property
    def feed(self) -> str:
        """What it is to be fed, for messages."""
        return "pixels 0..255 as they are" if self.largest == 255 else "pixels divided by 255"

    def __str__(self) -> str:
        return f"0..{self.largest} becomes {self.low:.3g}..{self.high:.3g}"


def find_normalisation(path: Path, entry: GraphInput, side: int) -> OwnNormalisation | None:
    """Return what a graph's own normalisation is; None where there is none to be seen."""
    with open_regular(path) as file:
        model = onnx.load(file, load_external_data=False)
    part = _before_first_layer(model, entry.name)
    if part is None:
        return None
    answers = _run(part, entry, side)
    return None if answers is None else _recognised(*answers)


def _before_first_layer(model: onnx.ModelProto, entry: str) -> onnx.ModelProto | None:
    """Return what lies between the input and the first layer, as a model of one output."""
    reached, ends = {entry}, []
    for node in model.graph.node:
        taken = [name for name in node.input if name in reached]
        if taken and node.op_type in _PASSED and node.domain in ("", "ai.onnx"):
            reached.update(node.output)
        elif taken:
            ends.append(taken[0])
    # An input that goes into a layer as it is, too, is normalised for another purpose.
    if not ends or ends[0] == entry:
        return None
    nodes = list(_needed(model.graph, ends[0], entry))
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in used]
    external = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in constants)
    size = sum(part.ByteSize() for part in (*nodes, *constants))
    if external or len(nodes) > _MOST_NODES or size > _MOST_BYTES:
        return None
    fed = [value for value in model.graph.input if value.name == entry]
    output = onnx.ValueInfoProto(name=ends[0])
    graph = onnx.helper.make_graph(nodes, "normalisation", fed, [output], constants)
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _needed(graph: onnx.GraphProto, output: str, entry: str) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that compute a value, in the graph's order."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    wanted, found = [output], set()
    while wanted:
        name = wanted.pop()
        index = makers.get(name)
        if name != entry and index is not None and index not in found:
            found.add(index)
            wanted.extend(graph.node[index].input)
    for index in sorted(found):
        yield graph.node[index]


def _run(part: onnx.ModelProto, entry: GraphInput, side: int) -> list[np.ndarray] | None:
    """Return what constant images of each level become; None where the part does not run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    black = entry.black(entry.batch or 1, side)
    try:
        session: Any = onnxruntime.InferenceSession(
            part.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        given = [session.run(None, {entry.name: black + black.dtype.type(v)})[0] for v in _LEVELS]
    except Exception:  # onnxruntime's own exceptions share no other base
        return None
    return [np.asarray(each, np.float64) for each in given]


def _recognised(*given: np.ndarray) -> OwnNormalisation | None:
    """Return the normalisation of which these are the answers to `_LEVELS`."""
    first, last = given[0], given[-1]
    slopes = (last - first) / _LEVELS[-1]
    scale = np.abs(last - first).max(initial=0)
    straight = all(
        np.abs(first + slopes * level - each).max(initial=0) <= 1e-2 * scale
        for level, each in zip(_LEVELS, given, strict=True)
    )
    moved = slopes != 0  # What a Pad has added stays.
    if not (np.isfinite(scale) and straight and moved.any()):
        return None
    low, high = float(first[moved].mean()), float(last[moved].mean())
    top = low + (high - low) / _LEVELS[-1]
    if _fits(low, high, _LARGEST_CENTRE):
        return OwnNormalisation(255, low, high)
    if low < 0 and _fits(low, top, _LARGEST_CENTRE_OF_UNIT):
        return OwnNormalisation(1, low, top)
    return None


def _fits(low: float, high: float, largest_centre: float) -> bool:
    spread = abs(high - low) / 2
    return _SPREADS[0] <= spread <= _SPREADS[1] and abs(low + high) / 2 <= largest_centre
