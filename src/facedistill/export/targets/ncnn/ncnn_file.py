"""ncnn files: `student.param` says what is computed, `student.bin` beside it holds the weights.

An ncnn network takes one face at a time, as planes: blob `image`, float (3, size, size). By default
the planes are raw RGB, colour order and normalisation happen inside, so that an application feeds
what it has, in C++ or Python:

    ncnn::Mat::from_pixels(pixels, ncnn::Mat::PIXEL_RGB, 112, 112)    // PIXEL_BGR2RGB from OpenCV

The output is the blob `embedding`, (D). Weights are stored as float16, which is also what ncnn
computes with on phones; on x86 it computes in float32.

Files are converted by pnnx. The document of `file_metadata.py` lies beside the files, since ncnn's
have no place for it, `student.param.json`. It has one more key: `digests`, BLAKE2b of either file
by its suffix. ncnn believes what it reads, and ends the process over a damaged file; nothing is
given to it that is not, to the byte, what was written.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.extras import import_extra
from facedistill.core.other_content import check_is_weights
from facedistill.core.process import usable_cpus
from facedistill.core.regular_files import read_regular
from facedistill.core.temporary import temporary_folder
from facedistill.export.conversion.pixel_backbone import PixelBackbone
from facedistill.export.file_metadata import exported_metadata, read_beside, write_beside
from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx.onnx_file import write_as_built
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import FileEngine

_BLOBS = {"in0": "image", "out0": "embedding"}
"""What pnnx calls input and output, and what they are called here."""


def write(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write the files, unchecked: see `target.TargetModule.write`."""
    if options.batch != 1:
        raise FacedistillError("ncnn takes one face at a time: export with a batch of 1")
    document = exported_metadata(network, options, precision="float16")
    if options.input == "uint8":
        network.backbone = PixelBackbone(network.backbone, network.input)
    with temporary_folder() as folder:
        source = folder / "network.onnx"
        write_as_built(network, source, replace(options, input="float"))
        text = _convert(source, path.with_suffix(".bin"), network)
    path.write_text(text, "utf-8")
    write_beside(path, {**document, "digests": _digests(path)})


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return the document beside a file; None where there is none."""
    check_is_weights(path)
    return read_beside(path)


def open_engine(path: Path, *, threads: int | None = None) -> NcnnEngine:
    """Open a file in ncnn, on the CPU."""
    return NcnnEngine(path, threads=threads)


class NcnnEngine(FileEngine):
    """An exported file, open in ncnn on the CPU.

    Args:
        path: The .param file; its weights and document lie beside it.
        threads: CPU threads; all that this process may use by default.

    Attributes:
        batch: 1, how many faces it takes at once.

    Raises:
        FacedistillError: If a file is absent or damaged, or facedistill did not export it.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        document = read_metadata(path)
        if document is None:
            raise FacedistillError(
                f"{path} was not exported by facedistill: {path.name}.json, which says how it is "
                "fed, does not lie beside it"
            )
        super().__init__(document, path)
        self.batch = 1
        self.input = replace(self.input, batch=1)
        _check_digests(path, document)
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads or usable_cpus()
        if self._net.load_param(str(path)) or self._net.load_model(str(path.with_suffix(".bin"))):
            raise FacedistillError(f"{path} is not a usable ncnn file: ncnn does not load it")

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return (1, D) of raw pixels (1, size, size, 3) or planes (1, 3, size, size)."""
        (face,) = batch
        if face.dtype == np.uint8:
            size = self.input.spec.size
            planes = ncnn.Mat.from_pixels(face, ncnn.Mat.PixelType.PIXEL_RGB, size, size)
        else:
            planes = ncnn.Mat(face)
        extractor = self._net.create_extractor()
        extractor.input("image", planes)
        failed, embedding = extractor.extract("embedding")
        if failed:
            raise FacedistillError(f"ncnn computed no embedding (its error {failed})")
        return np.array(embedding)[None]


def _convert(source: Path, weights: Path, network: FaceNetwork) -> str:
    """Write the weights of an ONNX file as ncnn wants them; return the text of the .param file."""
    pnnx = import_extra("pnnx")  # Only writing needs it: a device has ncnn alone.
    size = network.input.size
    graph = source.with_suffix(".param")
    command = [
        pnnx.EXEC_PATH,
        str(source),
        f"inputshape=[1,3,{size},{size}]f32",
        f"ncnnparam={graph}",
        f"ncnnbin={weights}",
        "fp16=1",
    ]
    finished = subprocess.run(command, cwd=source.parent, capture_output=True, text=True)
    if finished.returncode or not graph.is_file() or not weights.is_file():
        last = (finished.stderr or finished.stdout).strip().splitlines() or ["no message"]
        raise FacedistillError(
            f"cannot export {network.name} to ncnn: pnnx failed ({finished.returncode}): {last[-1]}"
        )
    lines = [line.split() for line in graph.read_text("utf-8").splitlines()]
    _check_layers(lines[2:], network.name)
    return "".join(f"{' '.join(_BLOBS.get(word, word) for word in line)}\n" for line in lines)


def _check_layers(layers: Sequence[Sequence[str]], name: str) -> None:
    """Refuse a network with operators for which pnnx found no layer and left PyTorch's names."""
    left = sorted({layer[0] for layer in layers if layer and ncnn.layer_to_index(layer[0]) < 0})
    if left:
        raise FacedistillError(
            f"cannot export {name} to ncnn: it has no layer for {', '.join(left)}"
        )


def _digests(path: Path) -> dict[str, str]:
    files = (path, path.with_suffix(".bin"))
    return {
        file.suffix: hashlib.blake2b(read_regular(file), digest_size=16).hexdigest()
        for file in files
    }


def _check_digests(path: Path, document: dict[str, Any]) -> None:
    """Refuse files other than those that were written with this document."""
    weights = path.with_suffix(".bin")
    if not weights.exists():
        raise FacedistillError(f"{weights}, the weights of {path}, does not exist")
    check_is_weights(weights)
    stated = document.get("digests")
    for suffix, digest in _digests(path).items():
        if not isinstance(stated, dict) or stated.get(suffix) != digest:
            raise FacedistillError(
                f"{path.with_suffix(suffix)} is damaged, or not the file that {path.name}.json was "
                "written with: export again"
            )
