"""LiteRT files, `student.tflite`, for Android and what used to be called TensorFlow Lite.

Input 0 is `image`, raw uint8 RGB (batch, size, size, 3) by default, colour order and normalisation
inside; else float32 (batch, 3, size, size), normalised. Output 0 is the embedding, float32
(batch, D). The batch is fixed: delegates want to know it.

The document of `file_metadata.py` is a file `facedistill.json` in a ZIP archive behind the model,
as in TensorFlow Lite's own files with metadata: runtimes pass over it, and `unzip` reads it. It is
stored as it is, and the archive's comment is the file's digest (`runtime.file_digest`).
"""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.extras import import_extra
from facedistill.core.other_content import check_is_weights
from facedistill.core.process import usable_cpus
from facedistill.core.regular_files import open_regular, read_regular
from facedistill.export.conversion.exported_graph import ExportedGraph
from facedistill.export.conversion.quiet import quiet
from facedistill.export.conversion.scaled_maximum import replace_prelus
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import FileEngine
from facedistill.runtime.file_digest import (
    blank_ending,
    check_digest,
    require_digest,
    write_digest,
)
from facedistill.runtime.header import HEADER_KEY, parse_exported

_DOCUMENT = f"{HEADER_KEY}.json"
_LARGEST_DOCUMENT = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
)
"""What reading a damaged archive fails by."""
_MAGIC = b"TFL3"
"""From the fifth byte of every such file on."""


def write(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write the file, unchecked: see `target.TargetModule.write`."""
    if options.batch is None:
        raise FacedistillError("a LiteRT file takes a fixed number of faces: export with a batch")
    document = exported_metadata(network, options)
    # The converter writes PReLU as five operators, this as two; every delegate has both.
    replace_prelus(network.backbone)
    raw = options.input == "uint8"
    graph = ExportedGraph(network, preprocessing=raw, normalise=options.normalise).eval()
    side = network.input.size
    faces = torch.zeros(options.batch, side, side, 3, dtype=torch.uint8)
    example = faces if raw else network.preprocess(faces).contiguous()
    _convert(graph, example, path, network.name)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_DOCUMENT, json.dumps(document))
        archive.comment = blank_ending(path.suffix)
    write_digest(path)


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the document that a file carries; None in anyone else's."""
    check_is_weights(path)
    with open_regular(path) as file:
        if file.read(8)[4:] != _MAGIC:
            raise FacedistillError(f"{path} is not a usable LiteRT file: it does not begin as one")
    whole = check_digest(path)
    try:
        with open_regular(path) as file:
            if not zipfile.is_zipfile(file):
                return None
            with zipfile.ZipFile(file) as archive:
                text = _stored_document(archive)
    except _DAMAGE as error:
        raise FacedistillError(
            f"{path}: damaged facedistill metadata: {first_line(error)}"
        ) from None
    if text is None:
        return None
    require_digest(path, whole)
    return parse_exported(text, path)


def _stored_document(archive: zipfile.ZipFile) -> str | None:
    """Return the document in an archive, read without believing what it says of the length.

    Raises:
        ValueError: If it is not as `write` stores it.
    """
    if _DOCUMENT not in archive.namelist():
        return None
    entry = archive.getinfo(_DOCUMENT)
    encrypted = entry.flag_bits & 1
    stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
    if encrypted or not stored:
        raise ValueError(f"{_DOCUMENT} is not stored as it is")
    with archive.open(entry) as file:
        content = file.read(_LARGEST_DOCUMENT + 1)
    if len(content) > _LARGEST_DOCUMENT:
        raise ValueError("too long")
    return content.decode()


def open_engine(path: Path, *, threads: int | None = None) -> LiteRtEngine:
    """Open a file in LiteRT, on the CPU."""
    return LiteRtEngine(path, threads=threads)


class LiteRtEngine(FileEngine):
    """An exported file, open in LiteRT on the CPU.

    Args:
        path: The .tflite file.
        threads: CPU threads; all that this process may use by default.

    Attributes:
        batch: How many faces it takes at once.

    Raises:
        FacedistillError: If it is absent or damaged, or facedistill did not export it.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        interpreter = import_extra("ai_edge_litert.interpreter")
        super().__init__(read_metadata(path), path)
        try:
            self._interpreter = interpreter.Interpreter(
                model_content=read_regular(path), num_threads=threads or usable_cpus()
            )
            self._interpreter.allocate_tensors()
            (entry,), (given,) = (
                self._interpreter.get_input_details(),
                self._interpreter.get_output_details(),
            )
        except (ValueError, RuntimeError) as error:
            raise FacedistillError(
                f"{path} is not a usable LiteRT file: {first_line(error)}"
            ) from None
        self._entry, self._given = entry["index"], given["index"]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the embeddings (batch, D) of faces as the file takes them."""
        self._interpreter.set_tensor(self._entry, batch)
        self._interpreter.invoke()
        rows: np.ndarray = self._interpreter.get_tensor(self._given)
        return rows


def _convert(graph: ExportedGraph, example: Tensor, path: Path, name: str) -> None:
    with quiet():
        litert_torch = import_extra("litert_torch")
        try:
            model = litert_torch.convert(graph, (example,))
            model.export(str(path))
        except Exception as error:  # the converter raises whatever its passes do
            raise FacedistillError(
                f"cannot export {name} to LiteRT: {first_line(error)}"
            ) from error
