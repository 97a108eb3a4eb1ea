"""ONNX files that know what to be fed, checked against the network they came from.

By default the graph starts at raw pixels: input `image`, uint8 RGB (batch, size, size, 3), and
colour order and normalisation happen inside, so that no caller can get them wrong; or `image` is
float32 (batch, 3, size, size), already normalised. The output is `embedding`, float32 (batch, D); a
network that finds landmarks has a second one, `landmarks`, float32 (batch, P, 2), (x, y) as
(pixel + 0.5) / side. The batch is dynamic or fixed, height and width are fixed: ONNX Runtime names
the expected and the given size when they differ.

The model's metadata has one entry, `facedistill`: the document of `export.metadata`.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facedistill import __version__
from facedistill.atomic import atomic_path
from facedistill.errors import FacedistillError
from facedistill.export.metadata import exported_metadata
from facedistill.export.target import OPSET, Engine, ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.models.header import HEADER_KEY
from facedistill.runtime import OnnxEngine, carried_document, open_session

MIN_COSINE = 1 - 1e-5
MAX_SHIFT = 1e-4
"""Largest difference of a landmark, as a fraction of the side: a hundredth of a pixel of 112."""

_BATCHES = (1, 3)
_LARGEST_BYTES = 2**31 - 1  # of a protobuf message


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how closely it agrees with the network.

    Attributes:
        path: The file.
        bytes: Its size.
        opset: Its ONNX operator set.
        min_cosine: Smallest cosine between the file's and the network's embedding of a face.
        max_abs_diff: Largest difference of an embedding's element.
        faces: Number of faces compared.
    """

    path: Path
    bytes: int
    opset: int
    min_cosine: float
    max_abs_diff: float
    faces: int

    def line(self) -> str:
        """Return the report as one line of text."""
        return (
            f"{self.path}: {self.bytes / 1e6:.2f} MB, opset {self.opset}, agrees with torch on "
            f"{self.faces} faces: cosine at least {self.min_cosine:.7f}, largest difference "
            f"{self.max_abs_diff:.1e}"
        )


class ExportedGraph(nn.Module):
    """What goes into the file: optional preprocessing, the backbone, optional normalisation."""

    def __init__(self, network: FaceNetwork, *, preprocessing: bool, normalise: bool) -> None:
        super().__init__()
        self.preprocess = network.preprocess if preprocessing else nn.Identity()
        self.backbone = network.backbone
        self.landmark_head = network.landmark_head
        self.normalise = normalise

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns."""
        return ["embedding", "landmarks"] if self.landmark_head else ["embedding"]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return float32 embeddings (B, D) and, of a network with such a head, landmarks."""
        embedding: Tensor = self.backbone(self.preprocess(image)).float()
        given = F.normalize(embedding) if self.normalise else embedding
        return (given, self.landmark_head(embedding)) if self.landmark_head else (given,)


def export_onnx(
    network: FaceNetwork,
    path: str | Path,
    *,
    preprocessing: bool = True,
    normalise: bool = False,
    opset: int = OPSET,
    samples: np.ndarray | None = None,
) -> ExportReport:
    """Write a network as one self-contained ONNX file and check it with ONNX Runtime.

    Embeddings are not normalised by default: the sum over an image and its mirror image, and the
    norm as a measure of quality, need them raw, and a cosine does not care.

    Args:
        network: What to export; it is not changed, whatever its mode and device.
        path: Where to, a name that ends in .onnx. The file appears only once it has been checked.
        preprocessing: Whether the file takes raw uint8 RGB or normalised float32.
        normalise: Whether embeddings leave the file with length 1.
        opset: ONNX operator set, 18 or higher.
        samples: uint8 RGB (N, size, size, 3), faces to compare on besides random pixels.

    Raises:
        FacedistillError: If the network cannot be exported, the file disagrees with it (cosine
            below 1 - 1e-5), samples do not fit, or the write is refused. No file is left then.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise FacedistillError(f"cannot write {path}: an ONNX file's name ends in .onnx")
    options = ExportOptions("uint8" if preprocessing else "float", None, normalise, opset)
    faces = _faces(network, samples)
    # A copy: exporting must neither move the caller's network nor take it out of training mode.
    own = copy.deepcopy(network).cpu().eval()
    graph = ExportedGraph(own, preprocessing=preprocessing, normalise=normalise).eval()
    images = faces if preprocessing else _normalised(network, faces)
    with atomic_path(path) as temporary:
        write(own, temporary, options)
        size = temporary.stat().st_size
        cosine, difference = _compare(graph, images, temporary, path)
    return ExportReport(path, size, opset, cosine, difference, len(images))


def write(network: FaceNetwork, path: Path, options: ExportOptions) -> None:
    """Write one self-contained file, unchecked: see `target.TargetModule.write`."""
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
    return carried_document(open_session(path, 1, ("CPUExecutionProvider",)), path)


def _faces(network: FaceNetwork, samples: np.ndarray | None) -> np.ndarray:
    """Return random faces, then the samples; enough for every batch size compared."""
    side = network.input.size
    shape = (side, side, 3)
    faces = np.random.default_rng(0).integers(256, size=(sum(_BATCHES), *shape), dtype=np.uint8)
    if samples is None:
        return faces
    if samples.dtype != np.uint8 or samples.ndim != 4 or samples.shape[1:] != shape:
        raise FacedistillError(
            f"sample faces are {samples.dtype} {samples.shape}: network {network.name} is compared "
            f"on uint8 RGB (N, {side}, {side}, 3)"
        )
    return np.concatenate([faces, samples])


@torch.no_grad()
def _normalised(network: FaceNetwork, faces: np.ndarray) -> np.ndarray:
    preprocess = copy.deepcopy(network.preprocess).cpu()
    return preprocess(torch.from_numpy(faces)).contiguous().numpy()


def _to_onnx(graph: ExportedGraph, options: ExportOptions, network: FaceNetwork) -> onnx.ModelProto:
    opset, name, side = options.opset, network.name, network.input.size
    # Of a dynamic batch of 1 the exporter would take the size for a constant.
    faces = torch.zeros(options.batch or 2, side, side, 3, dtype=torch.uint8)
    example = faces if options.input == "uint8" else network.preprocess(faces).contiguous()
    dynamic = {"image": {0: torch.export.Dim("batch")}} if options.batch is None else None
    with _quiet():
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
            reason = str(error.__cause__ or error).strip().splitlines()[0]
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


def _write(model: onnx.ModelProto, path: Path, name: str) -> int:
    if model.ByteSize() > _LARGEST_BYTES:
        raise FacedistillError(
            f"cannot export {name}: it takes {model.ByteSize():,} bytes, and one ONNX file holds "
            f"{_LARGEST_BYTES:,}"
        )
    onnx.checker.check_model(model, full_check=True)
    return path.write_bytes(model.SerializeToString())


def _compare(
    graph: ExportedGraph, images: np.ndarray, path: Path, target: Path
) -> tuple[float, float]:
    """Return smallest cosine and largest difference between the network and the file at `path`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted, found = [], []
    with torch.inference_mode():
        for batch in _cut(images):
            wanted.append([each.double().numpy() for each in graph(torch.from_numpy(batch))])
            found.append(session.run(graph.outputs, {"image": batch}))
    (ours, *our_points), (theirs, *their_points) = (
        [np.concatenate(batches).astype(np.float64) for batches in zip(*each, strict=True)]
        for each in (wanted, found)
    )
    shift = max(
        (float(np.abs(a - b).max()) for a, b in zip(our_points, their_points, strict=True)),
        default=0.0,
    )
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    if not np.isfinite(norms).all() or not norms.all():
        raise FacedistillError(
            f"not written: {target}: the network gives embeddings that are not finite or all zero"
        )
    cosine = float(((ours * theirs).sum(axis=1) / norms).min())
    difference = float(np.abs(ours - theirs).max())
    if cosine < MIN_COSINE:
        raise FacedistillError(
            f"not written: {target}: ONNX Runtime's embedding differs from the network's, cosine "
            f"{cosine:.7f} is below {MIN_COSINE:.7f}"
        )
    if not shift <= MAX_SHIFT:
        raise FacedistillError(
            f"not written: {target}: ONNX Runtime's landmarks differ from the network's by "
            f"{shift:.1e} of the side, more than {MAX_SHIFT:.0e}"
        )
    return cosine, difference


def _cut(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield one batch of each size compared, then the rest in batches of the largest size."""
    start = 0
    for size in _BATCHES:
        yield images[start : start + size]
        start += size
    for rest in range(start, len(images), _BATCHES[-1]):
        yield images[rest : rest + _BATCHES[-1]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks about packages it does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
