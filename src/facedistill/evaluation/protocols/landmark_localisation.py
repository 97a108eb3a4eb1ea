"""How well a network finds landmarks.

The error of a face is its mean distance between a point found and where it is, divided by the
distance of its two true eyes: inter-ocular, the eyes being the first two of the five points, and in
a larger markup their outer corners, as in the tables of 300-W and WFLW. The average over faces is
the NME. A face fails at a limit if its error is larger. The cumulative curve gives the share of
faces up to an error, and its area, AUC, is taken from 0 to the limit and divided by it, so that 1
is the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.core.progress import track
from facedistill.data.labels import UNLABELLED
from facedistill.data.sample import FaceDataset
from facedistill.data.views.resized import Resized
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters
from facedistill.faces.landmarks import FIVE, eye_distance, reduce_to_five
from facedistill.runtime.input_spec import InputSpec

LIMITS = (0.08, 0.10)
"""Errors above which a face counts as failed."""
FIVE_NAMES = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


class Locator(Protocol):
    """What finds landmarks: FaceNetwork and OnnxNetwork do."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def input(self) -> InputSpec:
        """What it is fed."""

    @property
    def gives(self) -> frozenset[str]:
        """Outputs it can be asked for."""

    def locate(self, images: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Return (B, P, 2) of uint8 RGB images (B, H, H, 3)."""


@dataclass(frozen=True)
class LandmarkReport:
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

    name: str
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
    def thresholds(self) -> dict[str, float]:
        """None: landmarks decide nothing."""
        return {}

    def line(self) -> str:
        """Return the figures as one line of text."""
        parts = [f"{self.name}: NME {self.nme.percent()}"]
        for limit, rate in self.failures.items():
            area = self.auc[limit].value
            parts.append(f"above {100 * limit:g} % {rate.percent()}, AUC {area:.4f}")
        each = 100 * self.point_errors
        if len(each) == len(FIVE_NAMES):
            named = zip(FIVE_NAMES, each, strict=True)
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


def normalised_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return each point's distance from where it is, over the distance of the true eyes.

    Args:
        found: (N, P, 2), in any unit that is the same for x and y.
        truth: (N, P, 2), in the same.

    Returns:
        float64 (N, P).

    Raises:
        FacedistillError: If the shapes differ, points are not finite, or a face's eyes coincide.
    """
    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if found.shape != truth.shape or found.ndim != 3:
        raise FacedistillError(f"found landmarks are {found.shape}, the true ones {truth.shape}")
    apart = eye_distance(truth)
    broken = ~np.isfinite(found).all(axis=(1, 2))
    if broken.any():
        raise FacedistillError(f"landmarks found are not finite of face {int(np.argmax(broken))}")
    if not apart.all():
        raise FacedistillError(f"the true eyes coincide of face {int(np.argmin(apart))}")
    return np.linalg.norm(found - truth, axis=2) / apart[:, None]


def cumulative_curve(face_errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors that occur, rising, and the share of faces up to each.

    Args:
        face_errors: (N,).

    Returns:
        float64 (N,) and float64 (N,).
    """
    ordered = np.sort(np.asarray(face_errors, np.float64))
    return ordered, np.arange(1, len(ordered) + 1) / len(ordered)


def area_under_curve(face_errors: np.ndarray, limit: float) -> np.ndarray:
    """Return each face's share of the area under the cumulative curve from 0 to `limit`.

    The curve is a staircase: a face of error e adds limit - e to N times its area. The mean over
    faces is the AUC, 0..1.
    """
    return np.clip(1 - np.asarray(face_errors, np.float64) / limit, 0, None)


def report_landmarks(
    name: str,
    found: np.ndarray,
    truth: np.ndarray,
    *,
    people: np.ndarray | None = None,
    limits: Sequence[float] = LIMITS,
    resamples: int = 1000,
    seed: int = 0,
) -> LandmarkReport:
    """Return the figures of landmarks found.

    Args:
        name: The set of faces.
        found: (N, P, 2), in units of the images' sides, which are squares.
        truth: (N, P, 2), in the same.
        people: (N,) whose faces they are, for intervals over people; None resamples faces.
        limits: Errors above which a face counts as failed.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Of the bootstrap.

    Raises:
        FacedistillError: See `normalised_errors`.
    """
    errors = normalised_errors(found, truth)
    faces = errors.mean(axis=1)

    def estimate(values: np.ndarray) -> Estimate:
        value = float(np.mean(values))
        return Estimate(value, _interval(values, people, resamples, seed) if resamples else None)

    return LandmarkReport(
        name,
        estimate(faces),
        {limit: estimate(faces > limit) for limit in limits},
        {limit: estimate(area_under_curve(faces, limit)) for limit in limits},
        np.asarray(found, np.float32),
        np.asarray(truth, np.float32),
        errors,
    )


def evaluate_landmarks(
    network: Locator,
    faces: FaceDataset,
    *,
    limits: Sequence[float] = LIMITS,
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
) -> LandmarkReport:
    """Measure a network on faces with landmarks.

    Where the markups of network and faces differ in their number of points, both are reduced to the
    template's five, and errors are over the distance of the eyes' centres.

    Args:
        network: Finds landmarks.
        faces: Loose crops with landmarks.
        limits: Errors above which a face counts as failed.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Of the bootstrap.
        batch_size: Images a step.

    Raises:
        FacedistillError: If the network finds no landmarks, the faces have none, or an image is
            damaged.
    """
    found, truth = locate_faces(network, faces, batch_size=batch_size)
    if truth is None:
        raise FacedistillError(f"{faces.name} has no landmarks: give a landmark list")
    if found.shape != truth.shape:
        found, truth = reduce_to_five(found), reduce_to_five(truth)
    known = faces.labels.min() > UNLABELLED
    return report_landmarks(
        faces.name,
        found,
        truth,
        people=faces.labels if known else None,
        limits=limits,
        resamples=resamples,
        seed=seed,
    )


def locate_faces(
    network: Locator, faces: FaceDataset, *, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the landmarks that a network finds in square crops, and the true ones.

    Args:
        network: Finds landmarks.
        faces: Loose crops.
        batch_size: Images a step.

    Returns:
        float32 (N, P, 2) found and (N, Q, 2) true, fractions of the sides; None for the latter
        where the faces have none.

    Raises:
        FacedistillError: If the network finds no landmarks, or an image is damaged or not square.
    """
    check_locator(network)
    resized = Resized(faces, network.input.size)
    found, truth = [], []
    starts = range(0, len(resized), batch_size)
    for start in track(starts, "finding landmarks", len(starts), "batches"):
        samples = [resized[i] for i in range(start, min(start + batch_size, len(resized)))]
        images = np.stack([sample.image for sample in samples])
        found.append(network.locate(images).cpu().numpy())
        truth += [sample.landmarks for sample in samples if sample.landmarks is not None]
    return np.concatenate(found), np.stack(truth) if truth else None


def check_locator(network: Locator) -> None:
    """Refuse a network that finds no landmarks.

    Raises:
        FacedistillError: Naming what it gives.
    """
    if "landmarks" not in network.gives:
        raise FacedistillError(
            f"network {network.name} finds no landmarks, it gives "
            f"{', '.join(sorted(network.gives))}: train one with `facedistill train landmarks`"
        )


def _interval(values: np.ndarray, people: np.ndarray | None, resamples: int, seed: int) -> Interval:
    each = np.arange(len(values)) if people is None else people
    interval = bootstrap_clusters(values, each, resamples=resamples, seed=seed)
    return interval if people is not None else replace(interval, over="faces")


def _names(points: int) -> list[str]:
    return list(FIVE_NAMES) if points == len(FIVE_NAMES) else [str(p) for p in range(points)]


def _normalised_by(points: int) -> str:
    return "inter-ocular" if points == FIVE else "inter-ocular (outer corners)"
