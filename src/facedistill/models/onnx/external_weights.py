"""The files beside an ONNX file in which its graph keeps weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_regular


def external_weights(path: Path) -> list[Path]:
    """Return the files in which the weights that a graph uses lie, without opening them.

    ONNX Runtime opens no others. Weights that no node uses may name whatever there is: devices,
    pipes, files of somebody else.

    Raises:
        FacedistillError: If a file is not below the graph's folder, or no regular file.
    """
    with open_regular(path) as file:
        graphs = list(_graphs(onnx.load(file, load_external_data=False).graph))
    used = {name for graph in graphs for node in graph.node for name in node.input}
    tensors = [t for graph in graphs for t in graph.initializer if t.name in used]
    for graph in graphs:
        for node in graph.node:
            tensors += [attribute.t for attribute in node.attribute if attribute.HasField("t")]
    entries = [entry for tensor in tensors for entry in tensor.external_data]
    locations = {entry.value for entry in entries if entry.key == "location"}
    return [_checked(path, location) for location in sorted(locations)]


def _checked(path: Path, location: str) -> Path:
    parts = PurePosixPath(location.replace("\\", "/"))
    file = path.parent / parts
    if parts.is_absolute() or ".." in parts.parts or not file.is_file():
        raise FacedistillError(
            f"{path} keeps weights in {location!r}, which is no regular file below its folder"
        )
    return file


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those inside its nodes, as branches and loops have them."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)
