"""OpenVINO files: `student.xml` says what is computed, `student.bin` beside it holds the weights.

Input and output are those of `onnx.py`, raw uint8 RGB and a batch of any size by default. Weights
are stored as float16, half the bytes, as OpenVINO's own tools do; how precisely they are computed
with is the runtime's choice. The engine here asks for float32. Left alone OpenVINO takes bfloat16
on CPUs that have it: faster, and less exact. An application says so when it compiles the model:

    core.compile_model("student.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

The document of `file_metadata.py` is the entry `facedistill` of the .xml's `rt_info`. The .xml ends
in a digest of both files (`runtime.file_digest`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openvino

from facedistill.core.errors import FacedistillError
from facedistill.core.other_content import check_is_weights
from facedistill.core.process import usable_cpus
from facedistill.core.regular_files import open_regular
from facedistill.core.temporary import temporary_folder
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx.onnx_file import write_as_built
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import FileEngine
from facedistill.runtime.file_digest import check_digest, require_digest, write_digest
from facedistill.runtime.header import HEADER_KEY, parse_exported


def write(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write both files, unchecked: see `target.TargetModule.write`."""
    with temporary_folder() as folder:
        source = folder / "network.onnx"
        write_as_built(network, source, options)
        try:
            # Not `openvino.convert_model`: that one reports its use to its makers.
            model = openvino.Core().read_model(source)
        except RuntimeError as error:
            reason = _reason(error)
            raise FacedistillError(f"cannot export {network.name} to OpenVINO: {reason}") from error
        model.set_friendly_name(network.name)
        document = exported_metadata(network, options)
        model.set_rt_info(json.dumps(document), [HEADER_KEY])
        openvino.save_model(model, path, compress_to_fp16=True)
    write_digest(path, [path.with_suffix(".bin")])


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the document that a file carries; None in anyone else's."""
    check_is_weights(path)
    whole = check_digest(path, [path.with_suffix(".bin")])
    try:
        with open_regular(path) as file:
            root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise FacedistillError(f"{path} is not a usable OpenVINO file: {error}") from None
    entry = root.find(f"rt_info/{HEADER_KEY}")
    text = None if entry is None else entry.get("value")
    if text is None:
        return None
    require_digest(path, whole)
    return parse_exported(text, path)


def open_engine(path: Path, *, threads: int | None = None) -> OpenVinoEngine:
    """Open a file in OpenVINO, on the CPU."""
    return OpenVinoEngine(path, threads=threads)


class OpenVinoEngine(FileEngine):
    """An exported file, open in OpenVINO on the CPU.

    Args:
        path: The .xml file; its weights lie beside it.
        threads: CPU threads; all that this process may use by default.

    Attributes:
        batch: How many faces it takes at once; None for any number.

    Raises:
        FacedistillError: If a file is absent or damaged, or facedistill did not export it.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        super().__init__(read_metadata(path), path)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads or usable_cpus(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})  # A mapped file that is cut ends the process.
        try:
            model = core.read_model(path, path.with_suffix(".bin"))
            self._model = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise FacedistillError(
                f"{path} is not a usable OpenVINO file: {_reason(error)}"
            ) from None

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the embeddings (batch, D) of faces as the file takes them."""
        return np.asarray(self._model(batch)["embedding"])


def _reason(error: Exception) -> str:
    """Return what went wrong: OpenVINO's messages begin with places in its own code."""
    lines = [line.strip() for line in str(error).splitlines()]
    spoken = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return spoken[-1] if spoken else type(error).__name__
