"""Core ML packages: `student.mlpackage`, a folder that Xcode and macOS take for one file.

By default the input `image` is an image, RGB, size x size: a `CVPixelBuffer` in an application,
which Core ML converts from whatever format it has; colour order and normalisation happen inside.
Otherwise `image` is float32 (batch, 3, size, size), normalised. The output is `embedding`, float32
(batch, D). Weights and arithmetic are float16, the only ones that Apple's Neural Engine has. It
takes iOS 15 or macOS 12.

Core ML runs on macOS alone, and there only is a package compared with its network. Everywhere else
it is converted, and read back: input, outputs and document are what was asked for. The document of
`file_metadata.py` is the entry `facedistill` of the user-defined metadata.
"""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.extras import import_extra
from facedistill.core.protobuf import fields_of
from facedistill.core.regular_files import read_regular
from facedistill.export.conversion.exported_graph import ExportedGraph
from facedistill.export.conversion.pixel_backbone import PixelBackbone
from facedistill.export.conversion.quiet import quiet
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import EngineUnavailable, ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import FileEngine
from facedistill.runtime.header import HEADER_KEY, parse_exported

_SPECIFICATION = Path("Data", "com.apple.CoreML", "model.mlmodel")
_LARGEST_SPECIFICATION = 1 << 28
"""Bytes; the weights are in a file of their own."""

_DESCRIPTION, _METADATA, _USER_DEFINED, _KEY, _VALUE = 2, 100, 100, 1, 2
"""Fields of Core ML's `Model.proto`: ModelDescription, its Metadata, a map, and an entry's two."""


def write(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write the package and check its specification: see `target.TargetModule.write`."""
    raw = options.input == "uint8"
    if options.batch is None or (raw and options.batch != 1):
        raise FacedistillError(
            "Core ML takes one image at a time, or a fixed number of faces as floats: export with "
            "a batch of 1, or with float input and a fixed batch"
        )
    document = exported_metadata(network, options, precision="float16")
    if raw:
        network.backbone = PixelBackbone(network.backbone, network.input)
    graph = ExportedGraph(network, preprocessing=False, normalise=options.normalise).eval()
    shape = (options.batch, 3, network.input.size, network.input.size)
    model = _convert(graph, shape, raw=raw, name=network.name)
    model.user_defined_metadata[HEADER_KEY] = json.dumps(document)
    model.short_description = f"{network.name}: an embedding of an aligned face"
    with quiet():
        model.save(str(path))
    _open_to_readers(path)
    _check(path, shape, graph.outputs, document, raw=raw)


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the document that a package carries; None in anyone else's."""
    specification = path / _SPECIFICATION
    if not path.exists():
        raise FacedistillError(f"{path} does not exist")
    if not specification.exists():
        raise FacedistillError(f"{path} is not a usable Core ML package: no {_SPECIFICATION} in it")
    try:
        text = _user_defined(read_regular(specification, _LARGEST_SPECIFICATION))
    except (ValueError, IndexError) as error:
        raise FacedistillError(f"{path} is not a usable Core ML package: {error}") from None
    return None if text is None else parse_exported(text, path)


def open_engine(path: Path, *, threads: int | None = None) -> CoreMlEngine:
    """Open a package in Core ML; it chooses its processors itself, whatever `threads` is."""
    return CoreMlEngine(path)


class CoreMlEngine(FileEngine):
    """An exported package, open in Core ML.

    Args:
        path: The .mlpackage folder.

    Attributes:
        batch: How many faces it takes at once.

    Raises:
        EngineUnavailable: If this is not macOS.
        FacedistillError: If it is absent or damaged, or facedistill did not export it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(read_metadata(path), path)
        if sys.platform != "darwin":
            raise EngineUnavailable("Core ML runs on macOS alone, and this is not macOS")
        coremltools = import_extra("coremltools")
        try:
            self._model: Any = coremltools.models.MLModel(str(path))
        except Exception as error:  # coremltools passes on whatever Core ML says
            raise FacedistillError(
                f"{path} is not a usable Core ML package: {first_line(error)}"
            ) from None

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the embeddings (batch, D) of faces as the package takes them."""
        from PIL import Image

        given = Image.fromarray(batch[0]) if batch.dtype == np.uint8 else batch
        return np.asarray(self._model.predict({"image": given})["embedding"])


def _convert(graph: ExportedGraph, shape: tuple[int, ...], *, raw: bool, name: str) -> Any:
    """Return the graph as a Core ML program."""
    with quiet(), torch.no_grad():
        coremltools = import_extra("coremltools")
        kind = coremltools.ImageType if raw else coremltools.TensorType
        layout = {"color_layout": coremltools.colorlayout.RGB} if raw else {"dtype": np.float32}
        try:
            traced = torch.jit.trace(graph, torch.zeros(shape), check_trace=False)
            return coremltools.convert(
                traced,
                inputs=[kind(name="image", shape=shape, **layout)],
                outputs=[
                    coremltools.TensorType(name=output, dtype=np.float32)
                    for output in graph.outputs
                ],
                minimum_deployment_target=coremltools.target.iOS15,
                compute_precision=coremltools.precision.FLOAT16,
                skip_model_load=True,
            )
        except Exception as error:  # the converter raises whatever its passes do
            raise FacedistillError(
                f"cannot export {name} to Core ML: {first_line(error)}"
            ) from error


def _check(
    path: Path, shape: tuple[int, ...], outputs: list[str], document: dict[str, Any], *, raw: bool
) -> None:
    """Read the package back and refuse one that is not what was asked for."""
    specification = import_extra("coremltools").utils.load_spec(str(path))
    (entry,) = specification.description.input
    if raw:
        image = entry.type.imageType
        rgb = image.ColorSpace.Value("RGB")
        fed = (image.height, image.width) == shape[2:] and image.colorSpace == rgb
    else:
        fed = tuple(entry.type.multiArrayType.shape) == shape
    given = [output.name for output in specification.description.output]
    if entry.name != "image" or not fed or given != outputs or read_metadata(path) != document:
        raise FacedistillError(
            f"{path}: coremltools wrote a package with input {entry.name} and outputs "
            f"{', '.join(given)} that is not the one asked for"
        )


def _open_to_readers(path: Path) -> None:
    """Give what is in the package the package's mode: coremltools keeps some of it private."""
    mode = stat.S_IMODE(path.stat().st_mode)
    for part in path.rglob("*"):
        part.chmod(mode if part.is_dir() else mode & 0o666)


def _user_defined(specification: bytes) -> str | None:
    """Return facedistill's entry of the user-defined metadata, without coremltools.

    Raises:
        ValueError: If the bytes are no protocol buffer.
    """
    description = b"".join(fields_of(specification, _DESCRIPTION))
    metadata = b"".join(fields_of(description, _METADATA))
    for entry in fields_of(metadata, _USER_DEFINED):
        if b"".join(fields_of(entry, _KEY)) == HEADER_KEY.encode():
            return b"".join(fields_of(entry, _VALUE)).decode()
    return None
