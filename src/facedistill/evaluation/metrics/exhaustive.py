"""Every image compared with every other one, in blocks, without keeping the scores.

A ROC curve rises only at genuine scores, so the number of impostors above and at each of these is
all that is kept of the millions between, and the curve is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.evaluation.metrics.roc import RocCurve
from facedistill.evaluation.metrics.score_histogram import BINS, ScoreCounts, count_cosines
from facedistill.evaluation.metrics.similarity import unit_rows
from facedistill.models.device import device_for

HARDEST = 24
"""How many impostor pairs of the highest, and genuine ones of the lowest scores are named."""

_ROWS, _COLUMNS = 1_024, 8_192


@dataclass(frozen=True)
class ScoredPair:
    """A pair of images that a network got wrong, or nearly so.

    Attributes:
        probe: Index of the first image, the masked one.
        gallery: Index of the second.
        score: Their cosine.
    """

    probe: int
    gallery: int
    score: float


@dataclass(frozen=True)
class AllPairScores:
    """All pairs of two sets of embeddings of the same images.

    Attributes:
        curve: The ROC curve, thinned.
        probes: int64 (G,), the first image of each genuine pair.
        gallery: int64 (G,), the second.
        scores: (G,) their cosines.
        counts: How many scores lie where.
        closest: The impostor pairs that score highest, falling.
    """

    curve: RocCurve
    probes: np.ndarray
    gallery: np.ndarray
    scores: np.ndarray
    counts: ScoreCounts
    closest: list[ScoredPair]


def compare_all(
    probes: np.ndarray,
    gallery: np.ndarray | None,
    identities: np.ndarray,
    *,
    folds: np.ndarray | None = None,
    name: str = "all pairs",
    device: torch.device | str = "cpu",
) -> AllPairScores:
    """Compare every image with every other one, in blocks.

    Arithmetic is float64 where embeddings are, else float32; scores that differ by less than its
    rounding may be ordered either way. Memory beyond the arguments is that of the unit vectors, of
    the genuine scores and of some blocks of 8 million scores.

    Args:
        probes: (N, D) embeddings, not normalised.
        gallery: (N, D) of the same images otherwise (unmasked, say): every probe is compared with
            every gallery image but its own. None compares each two probes once.
        identities: (N,) integers.
        folds: (N,) integers: only images of different folds make an impostor pair. None lets any
            two identities make one.
        name: Label of the progress bar.
        device: Where the products are computed.

    Raises:
        FacedistillError: If shapes do not fit, an embedding has no direction, or pairs of one kind
            are missing.
    """
    identities = np.asarray(identities)
    if probes.ndim != 2 or identities.shape != (len(probes),):
        raise FacedistillError(
            f"embeddings have shape {probes.shape}, identities {identities.shape}: "
            "give one identity each"
        )
    if gallery is not None and gallery.shape != probes.shape:
        raise FacedistillError(
            f"probes have shape {probes.shape}, the gallery {gallery.shape}: "
            "both must hold the same images"
        )
    kind = np.result_type(probes.dtype, np.float32, *([] if gallery is None else [gallery.dtype]))
    device = device_for(kind, device)
    units = unit_rows(probes, kind)
    others = units if gallery is None else unit_rows(gallery, kind)
    first, second, scores = _genuine(units, others, identities, once=gallery is None)
    apart = identities if folds is None else folds
    if not len(scores) or len(np.unique(apart)) < 2:
        raise FacedistillError(
            f"{name}: pairs of one identity and of two identities must both be there"
        )
    levels, accepted = np.unique(scores, return_counts=True)
    tally = _Tally(torch.from_numpy(levels).to(device))
    _impostors(units, others, apart, tally, once=gallery is None, name=name, device=device)
    return AllPairScores(
        curve=_curve(levels, accepted, tally),
        probes=first,
        gallery=second,
        scores=scores,
        counts=ScoreCounts(count_cosines(scores), tally.histogram.cpu().numpy()),
        closest=tally.closest(),
    )


def _genuine(
    units: np.ndarray, others: np.ndarray, identities: np.ndarray, once: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both images and the score of every genuine pair."""
    order = np.argsort(identities, kind="stable")
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for own in np.split(order, np.flatnonzero(np.diff(identities[order])) + 1):
        left, right = np.nonzero(
            np.triu(np.ones((len(own), len(own)), np.bool_), 1)
            if once
            else ~np.eye(len(own), dtype=np.bool_)
        )
        scores = np.clip(units[own] @ others[own].T, -1, 1)[left, right]
        parts.append((own[left], own[right], scores))
    first, second, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return first, second, scores


class _Tally:
    """What is kept of the impostors' scores.

    Attributes:
        places: int64 (2 L + 1,): scores between two levels and at a level, alternating.
        histogram: int64 (`BINS`,).
    """

    def __init__(self, levels: torch.Tensor) -> None:
        self.levels = levels
        self.places = torch.zeros(2 * len(levels) + 1, dtype=torch.int64, device=levels.device)
        self.histogram = torch.zeros(BINS, dtype=torch.int64, device=levels.device)
        self._closest: list[tuple[float, int, int]] = []

    def add(self, scores: torch.Tensor, counted: torch.Tensor, row: int, column: int) -> None:
        """Count a block whose corner is image `row` against image `column`."""
        chosen = scores[counted]
        if not len(chosen):
            return
        above = torch.searchsorted(self.levels, chosen)
        met = self.levels[above.clamp(max=len(self.levels) - 1)] == chosen
        self.places += torch.bincount(2 * above + met, minlength=len(self.places))
        bins = ((chosen + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)
        self.histogram += torch.bincount(bins, minlength=BINS)
        least = self._closest[-1][0] if len(self._closest) == HARDEST else -2.0
        if float(chosen.max()) > least:
            hidden = scores.masked_fill(~counted, -2).flatten()
            values, where = hidden.topk(min(HARDEST, len(chosen)))
            width = scores.shape[1]
            found = [
                (value, row + place // width, column + place % width)
                for value, place in zip(values.tolist(), where.tolist(), strict=True)
            ]
            best = sorted([*self._closest, *found], key=lambda pair: (-pair[0], *pair[1:]))
            self._closest = best[:HARDEST]

    def closest(self) -> list[ScoredPair]:
        """Return the pairs that score highest."""
        return [ScoredPair(probe, gallery, score) for score, probe, gallery in self._closest]


def _impostors(
    units: np.ndarray,
    others: np.ndarray,
    apart: np.ndarray,
    tally: _Tally,
    *,
    once: bool,
    name: str,
    device: torch.device | str,
) -> None:
    """Count the scores of all pairs of images that `apart` tells apart: identities or folds."""
    probes, gallery = (torch.from_numpy(each).to(device) for each in (units, others))
    group, number = (
        torch.from_numpy(apart).to(device),
        torch.arange(len(apart), device=device),
    )
    blocks = [
        (row, column)
        for row in range(0, len(apart), _ROWS)
        for column in range(0, len(apart), _COLUMNS)
        if not once or column + _COLUMNS > row
    ]
    for row, column in track(blocks, f"{name}: all pairs", total=len(blocks), unit="blocks"):
        rows, columns = slice(row, row + _ROWS), slice(column, column + _COLUMNS)
        scores = (probes[rows] @ gallery[columns].T).clamp_(-1, 1)
        counted = group[rows, None] != group[None, columns]
        if once:
            counted &= number[rows, None] < number[None, columns]
        tally.add(scores, counted, row, column)


def _curve(levels: np.ndarray, accepted: np.ndarray, tally: _Tally) -> RocCurve:
    """Return the corners just above, and at, each genuine score, falling; the last accepts all."""
    false_accepts = np.cumsum(tally.places.cpu().numpy()[::-1])
    true_accepts = np.zeros_like(false_accepts)
    true_accepts[1::2] = accepted[::-1]
    top = max([levels[-1], *(pair.score for pair in tally.closest()[:1])])
    thresholds = np.empty(len(false_accepts), levels.dtype)
    thresholds[0:-1:2] = np.nextafter(levels[::-1], levels.dtype.type(2))
    thresholds[1::2] = levels[::-1]
    thresholds[-1] = -1
    corners = RocCurve(
        np.concatenate([[np.nextafter(levels.dtype.type(top), levels.dtype.type(2))], thresholds]),
        np.concatenate([[0], false_accepts]),
        np.concatenate([[0], np.cumsum(true_accepts)]),
    )
    moved = np.diff(corners.false_accepts) + np.diff(corners.true_accepts) > 0
    keep = np.concatenate([[True], moved])
    return RocCurve(
        corners.thresholds[keep], corners.false_accepts[keep], corners.true_accepts[keep]
    )
