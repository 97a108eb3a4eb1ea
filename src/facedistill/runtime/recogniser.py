"""Using an exported student with ONNX Runtime and NumPy alone: what a device needs.

Nothing here imports torch, so that an application can ship without it:

    from facedistill.runtime import Recogniser

    student = Recogniser.load("student.onnx", threads=1)
    one, other = student.embed(faces)  # two aligned crops, uint8 RGB (2, 112, 112, 3)
    student.same_person(one, other, far=1e-3)
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.cosine import similarity
from facedistill.runtime.engine import OnnxEngine
from facedistill.runtime.header import stated_thresholds


class Recogniser:
    """A student that decides whether two aligned crops show one identity.

    Attributes:
        engine: The file, open.
        thresholds: Smallest cosine at which a pair is accepted, by false accept rate; empty
            where unknown.
    """

    def __init__(self, engine: OnnxEngine) -> None:
        self.engine = engine
        self.thresholds = stated_thresholds(engine.metadata, engine.path)

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> Recogniser:
        """Open an exported ONNX file.

        Args:
            path: A file that facedistill exported.
            threads: CPU threads; all that this process may use by default.

        Raises:
            FacedistillError: If the file is absent or damaged, or facedistill did not export it.
        """
        return cls(OnnxEngine(path, threads=threads))

    @property
    def size(self) -> int:
        """Side of the crops that it takes, in pixels."""
        return self.engine.input.spec.size

    def embed(self, faces: np.ndarray, *, flip: bool = True) -> np.ndarray:
        """Return unit embeddings to compare faces by.

        Args:
            faces: uint8 RGB (N, size, size, 3), crops aligned to the ArcFace template.
            flip: Whether to add the mirrored image's embedding before normalising: twice the time,
                and what the thresholds hold for. A file that normalises for itself gives the sum of
                two unit embeddings, for which they hold once they were measured with the file.

        Returns:
            float32 (N, D) of length 1.

        Raises:
            FacedistillError: If they are not such faces, or one's embedding has no direction.
        """
        embedding = self.engine.embed(faces)
        if flip:
            embedding = embedding + self.engine.embed(faces[:, :, ::-1])
        lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise FacedistillError(
                f"{self.engine.path} gives a face an embedding that is all zero or not finite"
            )
        return embedding / lengths

    def threshold(self, far: float = 1e-3) -> float:
        """Return the smallest cosine at which a pair is accepted, for a false accept rate.

        Raises:
            FacedistillError: If the file has none for that rate.
        """
        for name, cosine in self.thresholds.items():
            if math.isclose(float(name), far):
                return cosine
        there = ", ".join(self.thresholds) or "none"
        raise FacedistillError(
            f"{self.engine.path} has no threshold for FAR {far:g}; it has {there}: measure it with "
            "facedistill evaluate --save-thresholds"
        )

    def same_person(self, a: np.ndarray, b: np.ndarray, far: float = 1e-3) -> bool | np.ndarray:
        """Decide whether embeddings are of one identity.

        Args:
            a: (D,) or (N, D), as `embed` gives them.
            b: Likewise.
            far: The false accept rate: share of impostor pairs that are accepted.

        Returns:
            One bool for two embeddings, else bool (N,).

        Raises:
            FacedistillError: If the file has no threshold for that rate, or the shapes differ.
        """
        same = similarity(a, b) >= self.threshold(far)
        return bool(same) if np.ndim(same) == 0 else same
