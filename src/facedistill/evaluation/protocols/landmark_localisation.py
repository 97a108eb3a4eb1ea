"""How well a network finds landmarks: NME, failure rates and the area under the CED curve.

A face fails at a limit if its error is larger; see `metrics.landmark_errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import UNLABELLED
from facedistill.data.open import open_dataset
from facedistill.evaluation.landmark_locator import Locator, locate_faces
from facedistill.evaluation.metrics.landmark_errors import ced_area_shares, normalised_errors
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.base import Protocol
from facedistill.evaluation.protocols.landmark_report import LandmarkReport
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters
from facedistill.faces.landmarks import reduce_to_five
from facedistill.models.inference import Network

LIMITS = (0.08, 0.10)
"""Errors above which a face counts as failed."""


class LandmarkProtocol(Protocol):
    """How far landmarks found in loose crops are from the true ones.

    Where the markups of network and faces differ in their number of points, both are reduced to the
    template's five, and errors are over the distance of the eyes' centres.

    Args:
        faces: Loose crops with landmarks.
        limits: Errors above which a face counts as failed.
    """

    kind = "landmarks"
    takes = frozenset({"figures"})

    def __init__(self, faces: FaceDataset, limits: Sequence[float] = LIMITS) -> None:
        self.faces, self.limits = faces, limits
        self.name = faces.name

    @classmethod
    def open(cls, source: str | Path) -> LandmarkProtocol:
        """Open a landmark list, a folder with `.pts` files, or a specification of loose crops.

        Raises:
            FacedistillError: If it is nothing of this, or damaged.
        """
        return cls(open_dataset(source, five=False))

    def shows(self) -> Sequence[FaceDataset]:
        """Return the faces."""
        return (self.faces,)

    def evaluate_network(self, network: Network, options: EvaluationOptions) -> LandmarkReport:
        """Find the landmarks of all faces and measure them.

        Raises:
            FacedistillError: If the network finds no landmarks, the faces have none, or an image
                is damaged.
        """
        locator = cast(Locator, network)  # locate_faces refuses what is none
        found, truth = locate_faces(
            locator,
            self.faces,
            batch_size=options.batch_size,
            workers=options.workers,
            device=options.device,
        )
        if truth is None:
            raise FacedistillError(f"{self.name} has no landmarks: give a landmark list")
        if found.shape != truth.shape:
            found, truth = reduce_to_five(found), reduce_to_five(truth)
        known = self.faces.labels.min() > UNLABELLED
        return report_landmarks(
            self.name,
            found,
            truth,
            identities=self.faces.labels if known else None,
            limits=self.limits,
            resamples=options.resamples,
            seed=options.seed,
        )


def report_landmarks(
    name: str,
    found: np.ndarray,
    truth: np.ndarray,
    *,
    identities: np.ndarray | None = None,
    limits: Sequence[float] = LIMITS,
    resamples: int = 1000,
    seed: int = 0,
) -> LandmarkReport:
    """Return the figures of landmarks found.

    Args:
        name: The set of faces.
        found: (N, P, 2), in units of the images' sides, which are squares.
        truth: (N, P, 2), in the same.
        identities: (N,) whose faces they are, for intervals over identities; None resamples faces.
        limits: Errors above which a face counts as failed.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Of the bootstrap.

    Raises:
        FacedistillError: See `normalised_errors`.
    """
    errors = normalised_errors(found, truth)
    faces = errors.mean(axis=1)

    def estimate(values: np.ndarray) -> Estimate:
        interval = _interval(values, identities, resamples, seed) if resamples else None
        return Estimate(float(np.mean(values)), interval)

    return LandmarkReport(
        name,
        estimate(faces),
        {limit: estimate(faces > limit) for limit in limits},
        {limit: estimate(ced_area_shares(faces, limit)) for limit in limits},
        np.asarray(found, np.float32),
        np.asarray(truth, np.float32),
        errors,
    )


def _interval(
    values: np.ndarray, identities: np.ndarray | None, resamples: int, seed: int
) -> Interval:
    each = np.arange(len(values)) if identities is None else identities
    interval = bootstrap_clusters(values, each, resamples=resamples, seed=seed)
    return interval if identities is not None else replace(interval, over="faces")
