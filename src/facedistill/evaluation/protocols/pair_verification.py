"""Everything that is said about a network on one set of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, get_args

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.embedding import Network, embed_images
from facedistill.evaluation.metrics import kfold
from facedistill.evaluation.metrics.kfold import VerificationResult, verification
from facedistill.evaluation.metrics.roc import (
    FARS,
    OperatingPoint,
    area_under_curve,
    decision_thresholds,
    equal_error_rate,
    equal_error_rates,
    far_name,
    roc_curve,
    tar_at_far,
)
from facedistill.evaluation.metrics.similarity import check_scores, pair_similarities
from facedistill.evaluation.perturbations.masked import Masked, MaskedPairs
from facedistill.evaluation.statistics.bootstrap import bootstrap_weights, percentile_interval

MIN_IDENTITIES = 10
"""Genuine and impostor pairs must each show this many people for identities to be resampled."""


_WEARING = {None: "", "one": " (second image masked)", "both": " (both images masked)"}


class Pairs(Protocol):
    """What a set of pairs offers; `facedistill.data.pairs.pair_set.PairSet` is one."""

    @property
    def name(self) -> str:
        """What to call it in messages and reports."""
        ...

    @property
    def pairs(self) -> np.ndarray:
        """int64 (P, 2), images."""
        ...

    @property
    def same(self) -> np.ndarray:
        """Whether each pair is of one person, bool (P,)."""
        ...

    @property
    def folds(self) -> np.ndarray | None:
        """Each pair's fold, int (P,), or None for contiguous folds."""
        ...

    @property
    def identities(self) -> np.ndarray | None:
        """Each image's person, int (N,), -1 where unknown, or None."""
        ...

    def image(self, index: int) -> np.ndarray:
        """Return image `index`, uint8 RGB (H, W, 3)."""
        ...


@dataclass(frozen=True)
class PairReport:
    """A network's verification figures on one set of pairs.

    Attributes:
        name: The set of pairs.
        genuine: Number of pairs of the same person.
        impostors: Number of pairs of different people.
        protocol: The protocol whose accuracy is the headline.
        verification: The result of every protocol by name, with interval.
        auc: Area under the ROC curve.
        eer: Equal error rate.
        points: One per false accept rate asked for; not all need be measurable.
        tar_intervals: The true accept rates' intervals, by `far_name`; thresholds are found anew
            in every resample.
        thresholds: Cosine thresholds for the model file, by `far_name`.
        scores: float64 (P,) cosines.
        same: bool (P,).
        flip: Whether embeddings were f(x) + f(flip x).
        identities: int (P, 2), the people that intervals resample; None where pairs are resampled.
        masked: Which images of each pair wore a drawn face mask, None for none.
    """

    name: str
    genuine: int
    impostors: int
    protocol: kfold.Protocol
    verification: dict[str, VerificationResult]
    auc: Estimate
    eer: Estimate
    points: list[OperatingPoint]
    tar_intervals: dict[str, Interval]
    thresholds: dict[str, float]
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


def evaluate_pairs(
    network: Network,
    pairset: Pairs,
    *,
    protocol: kfold.Protocol = "insightface",
    folds: int = 10,
    fars: Sequence[float] = FARS,
    flip: bool = True,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    threads: int = 2,
    resamples: int = 1000,
    seed: int = 0,
    mask: Masked | None = None,
    mask_seed: int = 0,
) -> PairReport:
    """Embed every image of a set of pairs once and measure verification on it.

    Args:
        network: See `embedding.embed_images`.
        pairset: The pairs.
        protocol: Headline protocol; both are computed.
        folds: Number of contiguous folds where the set names none.
        fars: False accept rates at which to report.
        flip: Whether embeddings are f(x) + f(flip x).
        batch_size: Images a step.
        device: Where batches are put; by default where the network is.
        threads: How many images are read at a time.
        resamples: Bootstrap resamples of the intervals; 0 for none. 1,000 take seconds on
            6,000 pairs, and time grows with pairs times resamples.
        seed: Seed of the bootstrap.
        mask: Draw a face mask on the second image of each pair, or on both; None for none.
        mask_seed: Seed of the masks.

    Raises:
        FacedistillError: If the pairs or the network's embeddings are unusable.
    """
    check_protocol(protocol)
    check_pairs(pairset)
    if mask is not None:
        pairset = MaskedPairs(pairset, mask, mask_seed)
    used, rows = np.unique(pairset.pairs, return_inverse=True)
    embeddings = embed_images(
        network,
        lambda index: pairset.image(int(used[index])),
        len(used),
        batch_size=batch_size,
        flip=flip,
        device=device,
        threads=threads,
        description=pairset.name,
    )
    scores = pair_similarities(embeddings, rows.reshape(-1, 2))
    return report_scores(
        pairset.name,
        scores,
        pairset.same,
        protocol=protocol,
        folds=folds if pairset.folds is None else pairset.folds,
        identities=pair_identities(pairset),
        fars=fars,
        flip=flip,
        masked=mask,
        resamples=resamples,
        seed=seed,
    )


def report_scores(
    name: str,
    scores: np.ndarray,
    same: np.ndarray,
    *,
    protocol: kfold.Protocol = "insightface",
    folds: int | np.ndarray = 10,
    identities: np.ndarray | None = None,
    fars: Sequence[float] = FARS,
    flip: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    masked: Masked | None = None,
) -> PairReport:
    """Measure verification on cosine scores that are already there.

    Args:
        name: What to call the pairs.
        scores: (P,) cosines.
        same: (P,) bool.
        protocol: Headline protocol.
        folds: Their number, or each pair's fold.
        identities: (P, 2) people of each pair, or None.
        fars: False accept rates at which to report.
        flip: What to note about the embeddings.
        resamples: Bootstrap resamples; 0 for no intervals.
        seed: Seed of the bootstrap.
        masked: What to note about face masks.
    """
    check_protocol(protocol)
    scores, same = check_scores(scores, same)
    identities = resampleable(identities, same)
    results = {
        each: verification(
            scores, same, each, folds, identities=identities, resamples=resamples, seed=seed
        )
        for each in get_args(kfold.Protocol)
    }
    curve = roc_curve(scores, same)
    points = [tar_at_far(curve, far) for far in fars]
    measurable = [point.target for point in points if point.tar is not None]
    intervals = _roc_intervals(scores, same, identities, measurable, resamples, seed)
    return PairReport(
        name=name,
        genuine=curve.genuine,
        impostors=curve.impostors,
        protocol=protocol,
        verification=results,
        auc=Estimate(area_under_curve(curve), intervals.get("auc")),
        eer=Estimate(equal_error_rate(curve), intervals.get("eer")),
        points=points,
        tar_intervals={k: v for k, v in intervals.items() if k not in ("auc", "eer")},
        thresholds=decision_thresholds(scores, same, fars),
        scores=scores,
        same=same,
        flip=flip,
        masked=masked,
        identities=identities,
    )


def check_protocol(name: str) -> kfold.Protocol:
    """Return the protocol of that name.

    Raises:
        FacedistillError: If there is none.
    """
    for protocol in get_args(kfold.Protocol):
        if name == protocol:
            return protocol
    raise FacedistillError(
        f"unknown protocol {name!r}: take {' or '.join(get_args(kfold.Protocol))}"
    )


def check_pairs(pairset: Pairs) -> None:
    """Refuse pairs that would make a figure mean something else than it says.

    Raises:
        FacedistillError: If a pair is listed twice (in either order) or joins an image to itself,
            or labels do not fit the pairs.
    """
    pairs = np.asarray(pairset.pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) != len(pairset.same):
        raise FacedistillError(
            f"{pairset.name}: pairs have shape {pairs.shape} and there are {len(pairset.same)} "
            "labels: give two images and one label per pair"
        )
    itself = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(itself):
        raise FacedistillError(
            f"{pairset.name}: pair {itself[0]} joins image {pairs[itself[0], 0]} to itself: "
            "remove it"
        )
    _, first, counts = np.unique(
        np.sort(pairs, axis=1), axis=0, return_index=True, return_counts=True
    )
    if counts.size and counts.max() > 1:
        left, right = pairs[first[np.argmax(counts > 1)]]
        raise FacedistillError(
            f"{pairset.name}: the pair of images {left} and {right} is listed "
            f"{counts[np.argmax(counts > 1)]} times ({int((counts > 1).sum())} such pairs): "
            "list each pair once"
        )


def pair_identities(pairset: Pairs) -> np.ndarray | None:
    """Return the two people of every pair, int (P, 2); None where one is not known."""
    if pairset.identities is None:
        return None
    identities = np.asarray(pairset.identities)[pairset.pairs]
    return None if (identities < 0).any() else identities


def resampleable(identities: np.ndarray | None, same: np.ndarray) -> np.ndarray | None:
    """Return the pairs' identities where they are enough that every resample has both kinds."""
    if identities is None:
        return None
    fewest = min(len(np.unique(identities[same])), len(np.unique(identities[~same])))
    return identities if fewest >= MIN_IDENTITIES else None


def _roc_intervals(
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray | None,
    fars: Sequence[float],
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    """Return bootstrap intervals of AUC, EER and the true accept rates."""
    if not resamples:
        return {}
    order = np.argsort(-scores)
    scores, same = scores[order], same[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    figures: dict[str, list[np.ndarray]] = {}
    ordered = None if identities is None else identities[order]
    for weights in bootstrap_weights(same, ordered, resamples=resamples, seed=seed):
        far = cumulative_share(weights * ~same, last)
        tar = cumulative_share(weights * same, last)
        figures.setdefault("auc", []).append(_areas(far, tar))
        figures.setdefault("eer", []).append(equal_error_rates(far, tar))
        for target in fars:
            reached = np.where(far <= target, tar, 0.0).max(axis=1)
            reached[np.isnan(far[:, -1]) | np.isnan(tar[:, -1])] = np.nan
            figures.setdefault(far_name(target), []).append(reached)
    return {
        name: percentile_interval(np.concatenate(values), identities, len(scores))
        for name, values in figures.items()
    }


def _areas(far: np.ndarray, tar: np.ndarray) -> np.ndarray:
    return (np.diff(far, axis=1) * (tar[:, 1:] + tar[:, :-1])).sum(axis=1) / 2


def cumulative_share(weights: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the share of the weight accepted at each threshold, from none to all.

    Args:
        weights: (R, P), pairs in order of falling score.
        last: (T,) the last pair that each threshold accepts.

    Returns:
        float64 (R, T + 1), NaN in rows without weight.
    """
    accepted = np.cumsum(weights, axis=1)[:, last]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = accepted / accepted[:, -1:]
    return np.concatenate([np.zeros((len(shares), 1)), shares], axis=1)


def _over(interval: Interval | None) -> str:
    return "" if interval is None else f", interval over {interval.over}"
