"""An exported file, open in the runtime that runs it, and how it is fed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.process import usable_cpus
from facedistill.runtime.input_spec import InputSpec
from facedistill.runtime.session import Session

FORMAT = 1
"""Of the document that exported files carry; the keys are in `export.metadata`."""

_KINDS = ("uint8_nhwc_rgb", "float32_nchw")


@dataclass(frozen=True)
class FileInput:
    """How an exported file is fed.

    Attributes:
        kind: `uint8_nhwc_rgb`: raw pixels; `float32_nchw`: normalised planes.
        spec: Size, colour order and normalisation of the network in it.
        batch: How many faces it takes at once; None for any number.
    """

    kind: str
    spec: InputSpec
    batch: int | None

    @classmethod
    def read(cls, document: Mapping[str, Any], path: Path) -> FileInput:
        """Take it from the document that the file at `path` carries.

        Raises:
            FacedistillError: If the document is damaged or of a newer format.
        """
        if document.get("format") != FORMAT:
            raise FacedistillError(
                f"{path} has metadata of format {document.get('format')!r}; this facedistill reads "
                f"{FORMAT}"
            )
        try:
            stated = dict(document["input"])
            kind, batch = stated.pop("kind"), document.get("batch")
            spec = InputSpec.from_dict(stated)
        except (TypeError, KeyError, ValueError, FacedistillError) as error:
            raise FacedistillError(f"{path}: damaged facedistill metadata: {error}") from None
        if kind not in _KINDS or not (batch is None or (type(batch) is int and batch > 0)):
            raise FacedistillError(
                f"{path}: damaged facedistill metadata: input {kind!r}, batch {batch!r}"
            )
        return cls(kind, spec, batch)

    def prepare(self, faces: np.ndarray) -> np.ndarray:
        """Return faces as the file takes them.

        Args:
            faces: uint8 RGB (N, size, size, 3).

        Returns:
            The same, or float32 (N, 3, size, size), channels in the network's order, normalised.

        Raises:
            FacedistillError: If they are not such faces.
        """
        side = self.spec.size
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (side, side, 3):
            raise FacedistillError(
                f"faces are {faces.dtype} {faces.shape}; give aligned crops, uint8 RGB "
                f"(N, {side}, {side}, 3)"
            )
        if self.kind == "uint8_nhwc_rgb":
            return np.ascontiguousarray(faces)
        ordered = faces[..., ::-1] if self.spec.color == "BGR" else faces
        planes = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2), dtype=np.float32)
        mean, std = (
            np.array(values, np.float32)[:, None, None]
            for values in (self.spec.mean, self.spec.std)
        )
        return (planes - mean) / std

    def in_batches(
        self, faces: np.ndarray, run: Callable[[np.ndarray], Sequence[np.ndarray]]
    ) -> list[np.ndarray]:
        """Run any number of faces through a file whose batch may be fixed.

        Args:
            faces: uint8 RGB (N, size, size, 3).
            run: Gives the file's outputs, each (batch, ...), for a prepared batch. A short last
                batch is filled with copies of its faces, no faces at all with one black one.

        Returns:
            The outputs, each float32 (N, ...).

        Raises:
            FacedistillError: If they are not such faces.
        """
        size = self.batch or max(1, len(faces))
        pieces = []
        for start in range(0, max(1, len(faces)), size):
            piece = faces[start : start + size]
            full = piece if len(piece) == size else np.resize(piece, (size, *faces.shape[1:]))
            pieces.append([each[: len(piece)] for each in run(self.prepare(full))])
        return [np.concatenate(each, dtype=np.float32) for each in zip(*pieces, strict=True)]


class FileEngine(ABC):
    """An exported file, open in the runtime of its target, which `run` asks.

    Args:
        document: What the file says of itself; None where facedistill did not write it.
        path: The file.

    Attributes:
        input: How it is fed.
        batch: How many faces it takes at once; None for any number.

    Raises:
        FacedistillError: If facedistill did not export it, or the document is damaged.
    """

    def __init__(self, document: Mapping[str, Any] | None, path: Path) -> None:
        if document is None:
            raise FacedistillError(
                f"{path} was not exported by facedistill: it does not say how it is fed"
            )
        self.input = FileInput.read(document, path)
        self.batch = self.input.batch

    @abstractmethod
    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the embeddings (batch, D) of faces as the file takes them."""

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Return the embeddings of faces, just as the file gives them.

        Args:
            images: uint8 RGB (N, size, size, 3).

        Returns:
            float32 (N, D), of this one view.

        Raises:
            FacedistillError: If they are not such faces.
        """
        (rows,) = self.input.in_batches(images, lambda batch: [self.run(batch)])
        return rows


class OnnxEngine(FileEngine):
    """An exported ONNX file, open in ONNX Runtime on the CPU.

    Args:
        path: A file that facedistill exported.
        threads: CPU threads; all that this process may use by default.

    Attributes:
        path: The file.
        metadata: The document that it carries; `export.metadata` lists its keys.
        input: How it is fed.
        batch: How many faces it takes at once; None for any number.

    Raises:
        FacedistillError: If the file is absent or damaged, or facedistill did not export it.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        self._session = Session(self.path, threads or usable_cpus())
        super().__init__(self._session.document, self.path)
        self.metadata = self._session.document or {}

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Return the embeddings (batch, D) of faces as the file takes them."""
        return self._output("embedding", batch)

    def locate(self, images: np.ndarray) -> np.ndarray:
        """Return the landmarks of faces in loose crops.

        Args:
            images: uint8 RGB (N, size, size, 3).

        Returns:
            float32 (N, P, 2), (x, y) as (pixel + 0.5) / size.

        Raises:
            FacedistillError: If they are not such faces, or the file gives no landmarks.
        """
        if "landmarks" not in self.metadata:
            raise FacedistillError(f"{self.path} gives no landmarks")
        (rows,) = self.input.in_batches(images, lambda batch: [self._output("landmarks", batch)])
        return rows

    def _output(self, name: str, batch: np.ndarray) -> np.ndarray:
        (rows,) = self._session.run([name], batch)
        return rows
