"""What every protocol is: data to measure on, what it can be asked, and how it is measured.

A protocol of one's own states in a few lines what it measures on, what it takes and what it finds:

    class MeanNorm(Protocol):
        kind, takes = "embedding norms", frozenset({"flip"})

        def __init__(self, faces):
            self.name, self.faces = faces.name, faces

        def evaluate_network(self, network, options):
            images = lambda index: self.faces[index].image
            rows = embed_faces(network, images, len(self.faces), options, description=self.name)
            return NormReport(self.name, float(np.linalg.norm(rows, axis=1).mean()))

and is measured like all others, `evaluate(network, MeanNorm(faces), EvaluationOptions())`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.evaluation.options import EvaluationOptions, flag
from facedistill.evaluation.protocols.fairness_report import FairnessReport
from facedistill.evaluation.report import Report
from facedistill.evaluation.statistics.paired_difference import ReportComparison
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.inference import Network, embed_images

if TYPE_CHECKING:
    from facedistill.evaluation.protocols.robustness import RobustnessReport

Embedder = Network | StoredEmbeddings
"""What is measured: a network, or the embeddings that it gave already."""

_GO_WITH = {"mask_seed": ("mask", "robustness"), "group_far": ("groups",)}
"""Options that mean nothing without one of others."""

_EVERYWHERE = frozenset({"resamples", "seed", "batch_size", "workers", "device"})


class Protocol(ABC):
    """Data, and the rules by which networks are measured on it.

    Attributes:
        name: What to call it in messages and reports.
        kind: What it measures on, in words: `pairs of images`.
        takes: Names of the options that it has besides those that every protocol has, and of what
            else can be asked of it: `against`, `centre`, `save_thresholds`, `prompts`, `figures`.
    """

    name: str
    kind: ClassVar[str]
    takes: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def open(cls, source: str | Path) -> Self:
        """Open the data that a user names.

        Raises:
            FacedistillError: If it is not there, damaged, or nothing of this kind.
        """
        raise FacedistillError(f"{source}: {cls.kind} cannot be opened by name")

    def shows(self) -> Sequence[FaceDataset]:
        """Return the sets of faces that it measures on, where it can say."""
        return ()

    def check(self, options: EvaluationOptions, also: Collection[str] = ()) -> None:
        """Refuse what this protocol has not, before anything is embedded.

        Args:
            options: What was asked.
            also: What else was asked, by the names in `takes`.

        Raises:
            FacedistillError: Naming every flag, or saying which options exclude each other.
        """
        refused = options.refused(_EVERYWHERE | self.takes)
        refused += [flag(name) for name in also if name not in self.takes]
        if refused:
            raise FacedistillError(
                f"{self.name}: not for {self.kind}: {', '.join(refused)}; leave that out"
            )
        for name, others in _GO_WITH.items():
            if name in options.given and all(getattr(options, each) is None for each in others):
                raise FacedistillError(
                    f"{flag(name)} has no effect without {' or '.join(map(flag, others))}: give "
                    "that too, or leave it out"
                )

    def evaluate(self, embedder: Embedder, options: EvaluationOptions) -> Report:
        """Measure a network, or stored embeddings.

        Args:
            embedder: What is measured.
            options: How; see `check`.

        Raises:
            FacedistillError: If something is unusable, or asked that this protocol has not.
        """
        self.check(options)
        if isinstance(embedder, StoredEmbeddings):
            embedder.check(options)
            return self.evaluate_stored(embedder, options)
        return self.evaluate_network(embedder, options)

    @abstractmethod
    def evaluate_network(self, network: Network, options: EvaluationOptions) -> Report:
        """Measure a network, with options that were checked."""

    def evaluate_stored(self, stored: StoredEmbeddings, options: EvaluationOptions) -> Report:
        """Measure embeddings that a network gave already, with options that were checked."""
        raise FacedistillError(f"{stored.name}: {self.kind} need a network, not its embeddings")

    def compare(
        self, first: Report, second: Report, options: EvaluationOptions
    ) -> ReportComparison:
        """Return the first network's figures less the second's, on the same data."""
        raise FacedistillError(f"{self.name}: not for {self.kind}: {flag('against')}")

    def by_group(self, report: Report, options: EvaluationOptions) -> list[FairnessReport]:
        """Return errors by group, one report per attribute of the options' table of groups."""
        return []

    def perturbed(
        self, embedder: Embedder, report: Report, options: EvaluationOptions
    ) -> RobustnessReport | None:
        """Return the figures on altered images, where the options ask for them."""
        return None


def embed_faces(
    network: Network,
    image: Callable[[int], np.ndarray],
    count: int,
    options: EvaluationOptions,
    *,
    description: str,
    flip: bool | None = None,
) -> np.ndarray:
    """Return a network's embeddings of images, as the options say.

    Args:
        network: The network.
        image: Gives image 0..count-1, uint8 RGB (H, W, 3), all of one size.
        count: Number of images.
        options: Batch size, workers, device and flip.
        description: Label of the progress bar.
        flip: Whether to add the mirrored images' embeddings; by default as the options say.

    Returns:
        float32 (count, D), not normalised.
    """
    return embed_images(
        network,
        image,
        count,
        batch_size=options.batch_size,
        flip=options.flip if flip is None else flip,
        device=options.device,
        threads=options.workers,
        description=description,
    )
