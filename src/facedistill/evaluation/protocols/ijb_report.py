"""The figures of IJB-B and IJB-C: templates compared 1:1 and searched for in galleries."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.metrics.identification import OpenSetPoint, ThresholdRule
from facedistill.evaluation.metrics.roc import OperatingPoint, RocCurve, far_name
from facedistill.evaluation.metrics.score_histogram import ScoreCounts
from facedistill.evaluation.metrics.template_pooling import Variant
from facedistill.evaluation.report import Report


@dataclass(frozen=True)
class TemplateVerification:
    """The 1:1 figures of one variant.

    Attributes:
        variant: What faces contributed.
        genuine: Number of genuine pairs.
        impostors: Number of impostor pairs.
        auc: Area under the ROC curve.
        points: Best true accept rate at each false accept rate.
        intervals: The true accept rates' 95 % intervals by `far_name`, over identities where there
            are enough, else over pairs.
        nearest: The same by the rule of InsightFace and ijb_evals, see `roc.tar_at_nearest_far`.
        curve: The ROC curve, thinned.
        counts: How many scores lie where.
    """

    variant: Variant
    genuine: int
    impostors: int
    auc: float
    points: list[OperatingPoint]
    intervals: dict[str, Interval]
    nearest: list[OperatingPoint]
    curve: RocCurve
    counts: ScoreCounts

    @property
    def thresholds(self) -> dict[str, float]:
        """Cosine thresholds by `far_name`, of the measurable rates."""
        return {far_name(p.target): p.threshold for p in self.points if p.threshold is not None}

    def line(self) -> str:
        """Return the figures as one line of text."""
        tars = [_tar_text(point, self.intervals) for point in self.points]
        return ", ".join(
            [
                f"1:1 {self.variant.name}: {tars[0]}" if tars else f"1:1 {self.variant.name}",
                *tars[1:],
                f"AUC {self.auc:.6f}",
                f"{self.genuine:,} genuine, {self.impostors:,} impostor pairs",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the curve, as plain values for JSON."""
        return {
            "variant": self.variant.name,
            "genuine": self.genuine,
            "impostors": self.impostors,
            "auc": self.auc,
            "tar_at_far": {
                far_name(point.target): {
                    **asdict(point),
                    "interval": _optional_dict(self.intervals.get(far_name(point.target))),
                    "tar_at_nearest_far": nearest.tar,
                    "nearest_far": nearest.far,
                }
                for point, nearest in zip(self.points, self.nearest, strict=True)
            },
            "thresholds": self.thresholds,
        }


@dataclass(frozen=True)
class GalleryResult:
    """One gallery of the 1:N protocol.

    Attributes:
        name: Its file.
        entries: Number of templates in it.
        mated: Number of probes whose identity is in it.
        cmc: float64 (K,), share of mated probes whose mate is among the k best.
        open_set: One point per FPIR.
    """

    name: str
    entries: int
    mated: int
    cmc: np.ndarray
    open_set: list[OpenSetPoint]


@dataclass(frozen=True)
class TemplateIdentification:
    """The 1:N figures of one variant.

    Attributes:
        variant: What faces contributed.
        probes: Number of probes.
        rule: How the open set's thresholds were set, see `identification.open_set`.
        galleries: Each gallery's own figures.
        ranks: Rank-k identification rate of all mated searches in all galleries, by k, with
            intervals over identities.
        tpir: True positive identification rate at each FPIR, by `far_name`, averaged over the
            galleries; None where one of them cannot measure it.
    """

    variant: Variant
    probes: int
    rule: ThresholdRule
    galleries: list[GalleryResult]
    ranks: dict[int, Estimate]
    tpir: dict[str, float | None]

    def line(self) -> str:
        """Return the figures as one line of text."""
        ranks = [f"rank-{k} {e.percent()}" for k, e in self.ranks.items()]
        tpirs = [
            f"TPIR@{name} " + ("not measurable" if value is None else f"{100 * value:.2f} %")
            for name, value in self.tpir.items()
        ]
        entries = " and ".join(f"{gallery.entries:,}" for gallery in self.galleries)
        head, *rest = [*ranks, *tpirs, f"{self.probes:,} probes, galleries of {entries}"]
        return ", ".join([f"1:N {self.variant.name}: {head}", *rest])

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return {
            "variant": self.variant.name,
            "probes": self.probes,
            "rule": self.rule,
            "ranks": {str(rank): asdict(estimate) for rank, estimate in self.ranks.items()},
            "tpir": self.tpir,
            "galleries": [
                {
                    **asdict(gallery),
                    "cmc": gallery.cmc.tolist(),
                    "open_set": [asdict(point) for point in gallery.open_set],
                }
                for gallery in self.galleries
            ],
        }


@dataclass(frozen=True)
class IjbReport(Report):
    """All figures on one set of IJB protocol files.

    Attributes:
        name: `IJBB`, `IJBC`, ...
        faces: Number of faces.
        templates: Number of templates.
        verification: 1:1, one per variant; empty without a list of pairs.
        identification: 1:N, one per variant; empty without galleries and probes.
    """

    faces: int
    templates: int
    verification: list[TemplateVerification]
    identification: list[TemplateIdentification]

    @property
    def score(self) -> float:
        """Area under the first variant's ROC curve, or its rank-1 rate without a list of pairs."""
        if self.verification:
            return self.verification[0].auc
        ranks = self.identification[0].ranks
        return ranks[min(ranks)].value

    @property
    def thresholds(self) -> dict[str, float]:
        """Cosine thresholds by `far_name` of the first variant; none without a list of pairs."""
        return self.verification[0].thresholds if self.verification else {}

    def line(self) -> str:
        """Return the figures as text, one line per protocol and variant."""
        lines = [part.line() for part in self.verification]
        lines += [part.line() for part in self.identification]
        return "\n".join(f"{self.name} {line}" for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return {
            "name": self.name,
            "faces": self.faces,
            "templates": self.templates,
            "verification": [part.to_dict() for part in self.verification],
            "identification": [part.to_dict() for part in self.identification],
        }


def _optional_dict(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def _tar_text(point: OperatingPoint, intervals: dict[str, Interval]) -> str:
    name = far_name(point.target)
    if point.tar is None:
        return f"TAR@{name} not measurable"
    return f"TAR@{name} {Estimate(point.tar, intervals.get(name)).percent()}"
