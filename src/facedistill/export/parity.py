"""The parity check: does an exported file compute what its network computes?

Two answers: how far embeddings of the same faces are apart, and what that does to the accuracy on
the same pairs. The second is what matters, the first what shows a fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.statistics.bootstrap import PairedComparison
from facedistill.evaluation.statistics.paired_difference import compare_reports
from facedistill.export.target import Engine, Locator
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs, embedding_of
from facedistill.models.preprocess import Preprocess
from facedistill.runtime.input_spec import InputSpec

_FIRST_BATCHES = (1, 3)
"""Of the faces compared, so that a file which claims to take any number is tried with several."""
_BATCH = 32


@dataclass(frozen=True)
class Parity:
    """How close a file's embeddings are to its network's, face by face.

    Attributes:
        faces: How many were compared.
        min_cosine: Smallest cosine between the file's and the network's embedding of a face.
        mean_cosine: Mean of these cosines.
        max_abs_diff: Largest difference of an embedding's element.
        max_shift: Largest difference of a landmark's coordinate, as a fraction of the side; None
            where the file gives none.
    """

    faces: int
    min_cosine: float
    mean_cosine: float
    max_abs_diff: float
    max_shift: float | None = None

    def line(self) -> str:
        """Return the figures as text."""
        text = (
            f"parity check with torch on {self.faces} faces: mean cosine {self.mean_cosine:.7f}, "
            f"least {self.min_cosine:.7f}, largest difference {self.max_abs_diff:.1e}"
        )
        return text if self.max_shift is None else f"{text}, of a landmark {self.max_shift:.1e}"


@dataclass(frozen=True)
class AccuracyKept:
    """Verification accuracy of a file and of its network on the same pairs.

    Attributes:
        pairs: Their name.
        file: The file's accuracy, 0..1.
        network: The network's, in float32.
        difference: The file's less the network's, with interval.
    """

    pairs: str
    file: float
    network: float
    difference: PairedComparison

    def line(self) -> str:
        """Return the accuracies as text."""
        return (
            f"{self.pairs}: accuracy {100 * self.file:.2f} %, torch {100 * self.network:.2f} %, "
            f"difference {self.difference.estimate.percent(signed=True)} "
            f"(interval over {self.difference.interval.over})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


class EngineNetwork:
    """An engine where a network is asked for: raw faces in, Outputs out.

    Args:
        engine: Gives the embeddings.
        input: Of the network in its file; faces of another size are scaled as the network does it.
    """

    def __init__(self, engine: Engine, input: InputSpec) -> None:
        self.engine = engine
        self._preprocess = Preprocess(input)

    def __call__(self, images: Tensor, needs: Collection[str] = ("embedding",)) -> Outputs:
        """Return the embeddings of uint8 RGB images (B, H, H, 3)."""
        scaled = self._preprocess.resize(images.cpu()).permute(0, 2, 3, 1)
        embedding = self.engine.embed(np.ascontiguousarray(scaled.numpy()))
        return Outputs(embedding=torch.from_numpy(embedding))


def check_parity(
    network: FaceNetwork, engine: Engine, faces: np.ndarray, *, normalised: bool = False
) -> Parity:
    """Compare embeddings, and landmarks where there are some, of the same faces.

    Args:
        network: What the file was made of, on the CPU, in evaluation mode.
        engine: The file.
        faces: uint8 RGB (N, size, size, 3).
        normalised: Whether the file gives unit embeddings.

    Raises:
        FacedistillError: If an embedding of either is not finite or all zero, or of a wrong shape.
    """
    cosines, differences, shifts = [], [], []
    batches = list(_cut(faces))
    for batch in track(batches, "checking parity", total=len(batches), unit="batches"):
        reference, points = _reference(network, batch)
        exported = engine.embed(batch).astype(np.float64)
        if exported.shape != reference.shape:
            raise FacedistillError(
                f"the exported file gives embeddings of shape {exported.shape} for {len(batch)} "
                f"faces, the network {reference.shape}"
            )
        lengths = _lengths(reference, "network"), _lengths(exported, "exported file")
        cosines.append((reference * exported).sum(axis=1) / lengths[0] / lengths[1])
        scale = lengths[0][:, None] if normalised else 1.0
        differences.append(np.abs(reference / scale - exported).max())
        if points is not None and isinstance(engine, Locator):
            shifts.append(np.abs(points - engine.locate(batch)).max())
    each = np.concatenate(cosines)
    return Parity(
        faces=len(each),
        min_cosine=float(each.min()),
        mean_cosine=float(each.mean()),
        max_abs_diff=float(max(differences)),
        max_shift=float(max(shifts)) if shifts else None,
    )


def measure_accuracy_kept(
    network: FaceNetwork, engine: Engine, pairs: PairSet, *, resamples: int = 1000
) -> AccuracyKept:
    """Measure verification of a file and of its network, f(x) + f(flip x), on the same pairs.

    Args:
        network: What the file was made of.
        engine: The file.
        pairs: Verification pairs.
        resamples: Bootstrap resamples of the difference's interval.

    Raises:
        FacedistillError: If the pairs are unusable.
    """
    exported = EngineNetwork(engine, network.input)
    protocol, options = PairProtocol(pairs), EvaluationOptions(resamples=0)
    file, reference = (protocol.evaluate_network(each, options) for each in (exported, network))
    difference = compare_reports(file, reference, resamples=resamples).accuracy
    return AccuracyKept(pairs.name, file.accuracy, reference.accuracy, difference)


@torch.inference_mode()
def _reference(network: FaceNetwork, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the network's embeddings and landmarks, float64."""
    outputs = network(torch.from_numpy(faces), network.gives & {"embedding", "landmarks"})
    embedding = embedding_of(outputs).double().numpy()
    points = outputs.landmarks
    return embedding, None if points is None else points.double().numpy()


def _lengths(embeddings: np.ndarray, source: str) -> np.ndarray:
    lengths = np.linalg.norm(embeddings, axis=1)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise FacedistillError(f"the {source} gives embeddings that are not finite or all zero")
    return lengths


def _cut(faces: np.ndarray) -> Iterator[np.ndarray]:
    """Yield one batch of each of the first sizes, then the rest."""
    start = 0
    for size in _FIRST_BATCHES:
        if start < len(faces):
            yield faces[start : start + size]
        start += size
    for rest in range(start, len(faces), _BATCH):
        yield faces[rest : rest + _BATCH]
