"""ONNX files of 8-bit integers that are faster than floating point, not only smaller.

Static quantisation as common tools do it makes MobileFaceNets slower: their PReLUs stay in
floating point, each between a conversion from bytes and one back. Here the network is first
rewritten into one that computes the same and has nothing but operators with int8 kernels, then its
channels are made alike, and only then it is quantised, with ranges measured on the user's faces:

1. `preprocessing_folding.py`: raw pixels go into the first convolution as the bytes they are.
2. `batch_norm_rewriting.py`: batch norms that stand alone become depthwise convolutions.
3. `equalisation.py`: channels that share a range get alike ones.
4. `prelu_rewriting.py`: PReLUs become maxima of bytes.
5. `calibration.py`, `quantisation.py`: ranges of least squared error on faces.
6. `quantised_graph.py`, `bias_correction.py`: bytes between layers, biases that undo the rounding.

The file is standard ONNX: convolutions between QuantizeLinear and DequantizeLinear, and Max of
uint8, which ONNX Runtime has had since 1.24. Weights are int8 with a scale a channel, activations
uint8 with one a value. On x86 without VNNI instructions ONNX Runtime adds products of
two bytes in 16 bits, which overflow, unless a session sets `session.x64quantprecision`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from facedistill.core.errors import FacedistillError
from facedistill.core.temporary import temporary_folder
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.int8.batch_norm_rewriting import rewrite_batch_norms
from facedistill.export.int8.calibration import extents, observe
from facedistill.export.int8.equalisation import equalise
from facedistill.export.int8.onnx_graph import OnnxGraph
from facedistill.export.int8.prelu_rewriting import rewrite_prelus
from facedistill.export.int8.preprocessing_folding import fold_preprocessing
from facedistill.export.int8.quantised_graph import quantise, values_to_observe
from facedistill.export.int8.quantised_layers import is_layer
from facedistill.export.target import Engine, ExportOptions
from facedistill.export.targets.onnx import onnx_file as floating
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import FileInput
from facedistill.runtime.file_digest import write_digest
from facedistill.runtime.header import HEADER_KEY

LEAST_FACES = 32
"""Faces below which ranges would be guessed."""
LEAST_SHARE = 0.5
"""Of a network's weights that must be in layers that are quantised."""

_EQUALISED_ON = 128  # faces at least, where there are so many; extents settle quickly


def write(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write a quantised file, unchecked: see `target.TargetModule.write`."""
    document = exported_metadata(network, options, precision="int8")
    faces = _calibration_faces(options, document, path)
    graph = _floating_graph(network, options)
    if options.input == "uint8":
        fold_preprocessing(graph, network.input)
    rewrite_batch_norms(graph)
    _check_worth(graph, network.name)
    _equalise(graph, faces)
    rewrite_prelus(graph)
    quantise(graph, observe(graph, values_to_observe(graph), faces, "calibrating"))
    model = graph.model()
    _fix_batch(model, options.batch)
    onnx.helper.set_model_props(model, {HEADER_KEY: json.dumps(document)})
    model.ir_version = floating.IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    write_digest(path)


def open_engine(path: Path, *, threads: int | None = None) -> Engine:
    """Open a file in ONNX Runtime, on the CPU."""
    return floating.open_engine(path, threads=threads)


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the document that a file carries; None in anyone else's."""
    return floating.read_metadata(path)


def _calibration_faces(options: ExportOptions, document: dict[str, Any], path: Path) -> np.ndarray:
    """Return the calibration faces as the graph takes them."""
    faces = options.calibration
    count = 0 if faces is None else len(faces)
    if faces is None or count < LEAST_FACES:
        raise FacedistillError(
            f"target onnx-int8 measures ranges on at least {LEAST_FACES} faces, and got {count}: "
            "give more (--data, --calibration)"
        )
    return FileInput.read(document, path).prepare(faces)


def _floating_graph(network: FaceNetwork, options: ExportOptions) -> OnnxGraph:
    """Return the network in floating point, of dynamic batch for the calibration's sake."""
    with temporary_folder() as folder:
        path = folder / "floating.onnx"
        floating.write_as_built(network, path, replace(options, batch=None))
        return OnnxGraph(onnx.load(path))


def _check_worth(graph: OnnxGraph, name: str) -> None:
    """Refuse a network of which next to nothing would be quantised."""
    weights = {
        value: graph.constants[value].size
        for node in graph.nodes
        for value in node.input
        if value in graph.constants
    }
    layers = {node.input[1] for node in graph.nodes if is_layer(graph, node)}
    share = sum(weights[value] for value in layers) / sum(weights.values())
    if share < LEAST_SHARE:
        raise FacedistillError(
            f"target onnx-int8 quantises convolutions and fully connected layers, which hold "
            f"{share:.0%} of the weights of {name}: export it to onnx"
        )


def _equalise(graph: OnnxGraph, faces: np.ndarray) -> None:
    given = sorted({node.input[0] for node in graph.nodes if is_layer(graph, node)})
    some = faces[:: max(1, len(faces) // _EQUALISED_ON)]
    equalise(graph, extents(graph, given, some, "equalising"))


def _fix_batch(model: onnx.ModelProto, batch: int | None) -> None:
    if batch is not None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
