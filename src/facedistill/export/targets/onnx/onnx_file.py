"""ONNX files that know what to be fed.

By default the graph starts at raw pixels: input `image`, uint8 RGB (batch, size, size, 3), and
colour order and normalisation happen inside, so that no caller can get them wrong; or `image` is
float32 (batch, 3, size, size), already normalised. The output is `embedding`, float32 (batch, D); a
network that finds landmarks has a second one, `landmarks`, float32 (batch, P, 2), (x, y) as
(pixel + 0.5) / side. The batch is dynamic or fixed, height and width are fixed: ONNX Runtime names
the expected and the given size when they differ.

The model's metadata has two entries: `facedistill`, the document of `file_metadata`, and
`facedistill-digest`, that of `runtime.file_digest`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.other_content import check_is_weights
from facedistill.core.regular_files import open_regular
from facedistill.core.version import __version__
from facedistill.export.conversion.exported_graph import ExportedGraph
from facedistill.export.conversion.quiet import quiet
from facedistill.export.conversion.scaled_maximum import replace_prelus
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import Engine, ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import OnnxEngine
from facedistill.runtime.file_digest import check_digest, require_digest, write_digest
from facedistill.runtime.header import HEADER_KEY, parse_exported

IR_VERSION = 8
"""Of the files: that of the oldest opset here, for ONNX Runtime 1.16 reads none above 9."""

_LARGEST_BYTES = 2**31 - 1  # of a protobuf message


def write(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write one self-contained file, unchecked: see `target.TargetModule.write`."""
    # From 1.28 on ONNX Runtime spends most of a MobileFaceNet's time in PReLU, element by element.
    replace_prelus(network.backbone)
    write_as_built(network, path, options)
    write_digest(path)


def write_as_built(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write the file with the network's own operators, as converters to other targets like them."""
    graph = ExportedGraph(
        network, preprocessing=options.input == "uint8", normalise=options.normalise
    ).eval()
    model = _to_onnx(graph, options, network)
    _describe(model, network, options)
    _write(model, path, network.name)


def open_engine(path: Path, *, threads: int | None = None) -> Engine:
    """Open a file in ONNX Runtime, on the CPU."""
    return OnnxEngine(path, threads=threads)


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the document that a file carries; None in anyone else's."""
    check_is_weights(path)
    whole = check_digest(path)
    try:
        with open_regular(path) as file:
            model = onnx.load(file, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise FacedistillError(f"{path} is not a usable ONNX file: {first_line(error)}") from None
    if not model.HasField("graph"):
        raise FacedistillError(f"{path} is not a usable ONNX file: it holds no graph")
    carried = {entry.key: entry.value for entry in model.metadata_props}
    if HEADER_KEY not in carried:
        return None
    require_digest(path, whole)
    return parse_exported(carried[HEADER_KEY], path)


def _to_onnx(graph: ExportedGraph, options: ExportOptions, network: FaceNetwork) -> onnx.ModelProto:
    opset, name, side = options.opset, network.name, network.input.size
    # Of a dynamic batch of 1 the exporter would take the size for a constant.
    faces = torch.zeros(options.batch or 2, side, side, 3, dtype=torch.uint8)
    example = faces if options.input == "uint8" else network.preprocess(faces).contiguous()
    dynamic = {"image": {0: torch.export.Dim("batch")}} if options.batch is None else None
    with quiet():
        try:
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                input_names=["image"],
                output_names=graph.outputs,
                dynamic_shapes=dynamic,
                opset_version=opset,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = first_line(error.__cause__ or error)
            raise FacedistillError(f"cannot export {name} to ONNX: {reason}") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    written = {entry.domain: entry.version for entry in model.opset_import}.get("")
    if written != opset:
        raise FacedistillError(
            f"cannot export {name} to opset {opset}: the exporter wrote {written}"
        )
    return model


def _describe(model: onnx.ModelProto, network: FaceNetwork, options: ExportOptions) -> None:
    """Replace the exporter's notes, source paths among them, by the one metadata entry."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    document = exported_metadata(network, options)
    onnx.helper.set_model_props(model, {HEADER_KEY: json.dumps(document)})
    model.producer_name, model.producer_version = "facedistill", __version__
    model.ir_version = IR_VERSION


def _write(model: onnx.ModelProto, path: Path, name: str) -> None:
    if model.ByteSize() > _LARGEST_BYTES:
        raise FacedistillError(
            f"cannot export {name}: it takes {model.ByteSize():,} bytes, and one ONNX file holds "
            f"{_LARGEST_BYTES:,}"
        )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
