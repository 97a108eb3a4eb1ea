"""The figures of verification over all pairs of a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.metrics.exhaustive import HARDEST, AllPairScores, ScoredPair
from facedistill.evaluation.metrics.roc import OperatingPoint, far_name
from facedistill.evaluation.perturbations.masked import Masked
from facedistill.evaluation.report import Report

_WEARING = {
    None: "all pairs",
    "one": "masked against plain",
    "both": "all pairs, both images masked",
}


@dataclass(frozen=True)
class AllPairsReport(Report):
    """Verification figures over all pairs of a data set.

    Attributes:
        name: The data set.
        images: Number of labelled images.
        identities: Number of identities; None across folds, where a list does not say.
        masked: Which image of a pair wore a drawn mask: the probe (`one`), `both`, or none.
        mask_seed: Seed of the masks.
        folds: Number of folds whose images make the impostor pairs; None where any two identities
            make one.
        flip: Whether embeddings were f(x) + f(flip x).
        auc: Area under the ROC curve.
        eer: Equal error rate.
        points: One per false accept rate asked for; not all need be measurable.
        intervals: 95 % intervals of the true accept rates by `far_name`, over the probes'
            identities, at the threshold found.
        comparison: The scores.
    """

    images: int
    identities: int | None
    masked: Masked | None
    mask_seed: int
    folds: int | None
    flip: bool
    auc: float
    eer: float
    points: list[OperatingPoint]
    intervals: dict[str, Interval]
    comparison: AllPairScores

    @property
    def title(self) -> str:
        """Name of the data set, and what was compared."""
        across = f" across {self.folds} folds" if self.folds else ""
        return f"{self.name} ({_WEARING[self.masked]}{across})"

    @property
    def score(self) -> float:
        """1 less the equal error rate."""
        return 1 - self.eer

    @property
    def figures(self) -> dict[str, float]:
        """Figures to log, by name."""
        return {"auc": self.auc, "eer": self.eer}

    @property
    def file_thresholds(self) -> dict[str, float] | None:
        """The thresholds, where images wore no mask and mirrored ones were added."""
        if not self.flip or self.masked:
            return None
        return {
            far_name(point.target): point.threshold
            for point in self.points
            if point.threshold is not None
        }

    @property
    def genuine(self) -> int:
        """Number of genuine pairs."""
        return self.comparison.curve.genuine

    @property
    def impostors(self) -> int:
        """Number of impostor pairs."""
        return self.comparison.curve.impostors

    def farthest(self) -> list[ScoredPair]:
        """Return the genuine pairs that score lowest, rising."""
        scores = self.comparison.scores
        lowest = np.argsort(scores, kind="stable")[:HARDEST]
        return [
            ScoredPair(
                int(self.comparison.probes[place]),
                int(self.comparison.gallery[place]),
                float(scores[place]),
            )
            for place in lowest
        ]

    def counts(self) -> str:
        """Return how many images were compared, and of how many identities where that is known."""
        if self.identities is None:
            return f"{self.images:,} images in {self.folds} folds"
        return f"{self.images:,} images of {self.identities:,} identities"

    def line(self) -> str:
        """Return the figures as one line of text."""
        parts = []
        for point in self.points:
            name = far_name(point.target)
            if point.tar is None:
                parts.append(f"TAR@{name} {point.reason}")
                continue
            parts.append(f"TAR@{name} {Estimate(point.tar, self.intervals.get(name)).percent()}")
        parts += [
            f"AUC {self.auc:.6f}",
            f"EER {100 * self.eer:.2f} %",
            f"{self.genuine:,} genuine, {self.impostors:,} impostor pairs",
            self.counts(),
        ]
        return f"{self.title}: " + ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the scores, as plain values for JSON."""
        return {
            "name": self.name,
            "protocol": "all_pairs",
            "images": self.images,
            "people": self.identities,
            "masked": self.masked,
            "mask_seed": self.mask_seed,
            "folds": self.folds,
            "flip": self.flip,
            "genuine": self.genuine,
            "impostors": self.impostors,
            "auc": self.auc,
            "eer": self.eer,
            "tar_at_far": {
                far_name(point.target): {
                    **asdict(point),
                    "interval": asdict(self.intervals[far_name(point.target)])
                    if far_name(point.target) in self.intervals
                    else None,
                }
                for point in self.points
            },
        }
