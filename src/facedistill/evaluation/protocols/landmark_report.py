"""The figures of landmarks found in faces."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from facedistill.core.estimate import Estimate
from facedistill.evaluation.report import Report
from facedistill.faces.landmarks import FIVE

_FIVE_NAMES = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


@dataclass(frozen=True)
class LandmarkReport(Report):
    """A network's landmarks on one set of faces.

    Attributes:
        name: The set of faces.
        nme: Mean error over the faces.
        failures: Share of faces whose error is above a limit, by limit.
        auc: Area under the cumulative curve up to a limit, by limit.
        found: float32 (N, P, 2), fractions of the images' sides.
        truth: float32 (N, P, 2).
        errors: float64 (N, P), each point's distance over the distance of the eyes (see
            `faces.landmarks.eye_distance`).
    """

    nme: Estimate
    failures: dict[float, Estimate]
    auc: dict[float, Estimate]
    found: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)

    @property
    def face_errors(self) -> np.ndarray:
        """float64 (N,), the error of each face."""
        return self.errors.mean(axis=1)

    @property
    def point_errors(self) -> np.ndarray:
        """float64 (P,), the mean error of each point."""
        return self.errors.mean(axis=0)

    @property
    def score(self) -> float:
        """What decides between weights: higher is better."""
        return -self.nme.value

    @property
    def figures(self) -> dict[str, float]:
        """Figures to log, by name."""
        return {
            "nme": self.nme.value,
            **{f"failures@{limit:g}": rate.value for limit, rate in self.failures.items()},
        }

    @property
    def items(self) -> np.ndarray:
        """float64 (N,), the error of each face."""
        return self.face_errors

    @property
    def values(self) -> np.ndarray:
        """float64 (N, P), the error of each point."""
        return self.errors

    def line(self) -> str:
        """Return the figures as one line of text."""
        parts = [f"{self.name}: NME {self.nme.percent()}"]
        for limit, rate in self.failures.items():
            area = self.auc[limit].value
            parts.append(f"above {100 * limit:g} % {rate.percent()}, AUC {area:.4f}")
        each = 100 * self.point_errors
        if len(each) == len(_FIVE_NAMES):
            named = zip(_FIVE_NAMES, each, strict=True)
            parts.append(", ".join(f"{name} {error:.2f}" for name, error in named))
        else:
            parts.append(f"points {each.min():.2f} to {each.max():.2f}")
        parts.append(f"{len(self.errors):,} faces, errors over the distance of the eyes")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the points, as plain values for JSON."""
        names = _names(self.errors.shape[1])
        return {
            "name": self.name,
            "faces": len(self.errors),
            "points": self.errors.shape[1],
            "normalised_by": _normalised_by(self.errors.shape[1]),
            "nme": asdict(self.nme),
            "median": float(np.median(self.face_errors)),
            "failures": {f"{limit:g}": asdict(rate) for limit, rate in self.failures.items()},
            "auc": {f"{limit:g}": asdict(area) for limit, area in self.auc.items()},
            "point_errors": dict(zip(names, self.point_errors.tolist(), strict=True)),
        }


def _names(points: int) -> list[str]:
    return list(_FIVE_NAMES) if points == len(_FIVE_NAMES) else [str(p) for p in range(points)]


def _normalised_by(points: int) -> str:
    return "inter-ocular" if points == FIVE else "inter-ocular (outer corners)"
