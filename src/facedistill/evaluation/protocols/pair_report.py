"""The figures of verification on one set of pairs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.metrics.kfold import KFoldRule, VerificationResult
from facedistill.evaluation.metrics.roc import OperatingPoint, far_name
from facedistill.evaluation.perturbations.masked import Masked
from facedistill.evaluation.report import Report

_WEARING = {None: "", "one": " (second image masked)", "both": " (both images masked)"}


@dataclass(frozen=True)
class PairReport(Report):
    """A network's verification figures on one set of pairs.

    Attributes:
        name: The set of pairs.
        genuine: Number of pairs of the same identity.
        impostors: Number of pairs of different identities.
        protocol: The protocol whose accuracy is the headline.
        verification: The result of every protocol by name, with interval.
        auc: Area under the ROC curve.
        eer: Equal error rate.
        points: One per false accept rate asked for; not all need be measurable.
        tar_intervals: The true accept rates' intervals, by `far_name`; thresholds are found anew
            in every resample.
        cosine_thresholds: Those for the model file, by `far_name`.
        scores: float64 (P,) cosines.
        same: bool (P,).
        flip: Whether embeddings were f(x) + f(flip x).
        identities: int (P, 2), what intervals resample; None where pairs are resampled.
        masked: Which images of each pair wore a drawn face mask, None for none.
    """

    genuine: int
    impostors: int
    protocol: KFoldRule
    verification: dict[str, VerificationResult]
    auc: Estimate
    eer: Estimate
    points: list[OperatingPoint]
    tar_intervals: dict[str, Interval]
    cosine_thresholds: dict[str, float]
    scores: np.ndarray
    same: np.ndarray
    flip: bool
    identities: np.ndarray | None = None
    masked: Masked | None = None

    @property
    def title(self) -> str:
        """Name of the pairs, and which of their images wore a mask."""
        return self.name + _WEARING[self.masked]

    @property
    def accuracy(self) -> float:
        """Accuracy by the headline protocol, 0..1."""
        return self.verification[self.protocol].accuracy

    @property
    def score(self) -> float:
        """What decides between weights: the accuracy, higher is better."""
        return self.accuracy

    @property
    def figures(self) -> dict[str, float]:
        """Figures to log, by name."""
        return {"accuracy": self.accuracy, "auc": self.auc.value}

    @property
    def result(self) -> VerificationResult:
        """Result by the headline protocol."""
        return self.verification[self.protocol]

    @property
    def thresholds(self) -> dict[str, float]:
        """Cosine thresholds by `far_name`, of the measurable rates."""
        return self.cosine_thresholds

    @property
    def file_thresholds(self) -> dict[str, float] | None:
        """The thresholds, where images wore no mask and mirrored ones were added."""
        return self.thresholds if self.flip and not self.masked else None

    @property
    def items(self) -> np.ndarray:
        """Bool (P,), whether each pair was decided rightly by the headline protocol."""
        return self.result.correct

    @property
    def values(self) -> np.ndarray:
        """float64 (P,), the scores."""
        return self.scores

    def line(self) -> str:
        """Return the figures as one line of text."""
        result = self.result
        parts = [
            f"{self.title}: accuracy {result.estimate.percent()} ({self.protocol}, "
            f"{len(result.fold_accuracy)} folds, standard deviation {100 * result.std:.2f} %"
            f"{_over(result.interval)})",
            f"AUC {self.auc.value:.4f}",
            f"EER {100 * self.eer.value:.2f} %",
        ]
        for point in self.points:
            label = f"TAR@{far_name(point.target)}"
            if point.tar is None or point.far is None:
                parts.append(f"{label} not measurable")
            else:
                parts.append(f"{label} {100 * point.tar:.2f} % (FAR {point.far:.1e})")
        parts.append(f"{self.genuine:,} genuine, {self.impostors:,} impostor pairs")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the scores, as plain values for JSON."""
        return {
            "name": self.name,
            "genuine": self.genuine,
            "impostors": self.impostors,
            "flip": self.flip,
            "masked": self.masked,
            "protocol": self.protocol,
            "verification": {
                protocol: {
                    "accuracy": result.accuracy,
                    "std": result.std,
                    "interval": asdict(result.interval) if result.interval else None,
                    "fold_accuracy": result.fold_accuracy.tolist(),
                    "cosine_thresholds": result.cosine_thresholds.tolist(),
                }
                for protocol, result in self.verification.items()
            },
            "auc": asdict(self.auc),
            "eer": asdict(self.eer),
            "tar_at_far": {
                far_name(point.target): {
                    **asdict(point),
                    "interval": asdict(self.tar_intervals[far_name(point.target)])
                    if far_name(point.target) in self.tar_intervals
                    else None,
                }
                for point in self.points
            },
            "thresholds": self.thresholds,
        }


def _over(interval: Interval | None) -> str:
    return "" if interval is None else f", interval over {interval.over}"
