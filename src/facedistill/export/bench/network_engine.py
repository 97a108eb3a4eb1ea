"""Networks that are no exported files, behind the call that exported files have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.open_network import open_network
from facedistill.models.foreign.foreign_weights import UnstatedInput
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.input_spec import StatedInput


def open_timed(path: Path, size: int | None = None) -> FaceNetwork | OnnxNetwork:
    """Open a network to time it; the order of its colours, which changes no time, may be unknown.

    Args:
        path: What `models.files.open_network` opens.
        size: Side of its input, where the file does not say.

    Raises:
        FacedistillError: If the file is refused by its reader.
    """
    try:
        return open_network(path, input=StatedInput(size=size))
    except UnstatedInput:
        return open_network(path, input=StatedInput(size=size, color="RGB"))


class NetworkEngine:
    """A model file or checkpoint run by torch on the CPU, or anybody's ONNX file.

    Args:
        path: What `models.files.open_network` opens.
        threads: CPU threads; all that this process may use by default. Of torch they are set for
            the whole process.
        output: Name of the embedding among an ONNX file's outputs; found by default.
        size: Side of its input, where the file does not say.

    Attributes:
        batch: How many faces the file takes at once; None for any number.

    Raises:
        FacedistillError: If the file is refused by its reader.
    """

    batch: int | None = None

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        output: str | None = None,
        size: int | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.network: FaceNetwork | OnnxNetwork
        if path.suffix.lower() == ".onnx":
            self.network = OnnxNetwork(
                path, input=StatedInput(size=size), threads=threads, output=output
            )
            self.batch = self.network.batch
        else:
            self.network = open_timed(path, size)
        if isinstance(self.network, FaceNetwork):
            self.network.eval()

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Return the raw embeddings, float32 (N, D), of uint8 RGB (N, size, size, 3)."""
        with torch.inference_mode():
            embedding = self.network(torch.from_numpy(images)).embedding
        assert embedding is not None
        return embedding.numpy()
