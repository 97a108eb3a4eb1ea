"""Verification over all pairs of a labelled data set, masked probes against plain faces included.

Every image is compared with every other one: genuine pairs are of one person, impostor pairs of
two. The figure is the true accept rate at false accept rates of 1e-4 and less, which lists of some
thousand pairs cannot measure. It is the protocol of the Masked Face Recognition Challenge (Deng,
Guo, An, Zhu, Zafeiriou, "Masked face recognition challenge: the InsightFace track report", ICCV
Workshops 2021): all-to-all within a set of plain faces, mask-to-nonmask between the masked and the
plain photos of its mask set, where TAR is reported at FAR 1e-4. That set is private, with real
masks; here masks are drawn, on every image as the probe, and an image is never compared with
itself.

Scores are compared in blocks. A ROC curve rises only at genuine scores, so the number of impostors
above and at each of these is all that is kept of the millions between, and the curve is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.core.progress import track
from facedistill.data.labels import UNLABELLED
from facedistill.data.sample import FaceDataset
from facedistill.evaluation.embedding import Network, embed_images
from facedistill.evaluation.metrics.roc import (
    OperatingPoint,
    RocCurve,
    area_under_curve,
    equal_error_rate,
    far_name,
    tar_at_far,
)
from facedistill.evaluation.metrics.score_histogram import BINS, ScoreCounts, count_cosines
from facedistill.evaluation.metrics.similarity import unit_rows
from facedistill.evaluation.perturbations.masked import Masked, check_mask_seed, put_on_mask
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters
from facedistill.models.device import device_for, device_of

FARS = (1e-3, 1e-4, 1e-5, 1e-6)
"""The false accept rates reported unless others are asked for."""

HARDEST = 24
"""How many impostor pairs of the highest, and genuine ones of the lowest scores are named."""

_ROWS, _COLUMNS = 1_024, 8_192
_WEARING = {
    None: "all pairs",
    "one": "masked against plain",
    "both": "all pairs, both images masked",
}


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
class Comparison:
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


@dataclass(frozen=True)
class AllPairsReport:
    """Verification figures over all pairs of a data set.

    Attributes:
        name: The data set.
        images: Number of labelled images.
        people: Number of people.
        masked: Which image of a pair wore a drawn mask: the probe (`one`), `both`, or none.
        mask_seed: Seed of the masks.
        flip: Whether embeddings were f(x) + f(flip x).
        auc: Area under the ROC curve.
        eer: Equal error rate.
        points: One per false accept rate asked for; not all need be measurable.
        intervals: 95 % intervals of the true accept rates by `far_name`, over the probes' people,
            at the threshold found.
        comparison: The scores.
    """

    name: str
    images: int
    people: int
    masked: Masked | None
    mask_seed: int
    flip: bool
    auc: float
    eer: float
    points: list[OperatingPoint]
    intervals: dict[str, Interval]
    comparison: Comparison

    @property
    def title(self) -> str:
        """Name of the data set, and what was compared."""
        return f"{self.name} ({_WEARING[self.masked]})"

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
            f"{self.images:,} images of {self.people:,} people",
        ]
        return f"{self.title}: " + ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, without the scores, as plain values for JSON."""
        return {
            "name": self.name,
            "protocol": "all_pairs",
            "images": self.images,
            "people": self.people,
            "masked": self.masked,
            "mask_seed": self.mask_seed,
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


def evaluate_all_pairs(
    network: Network,
    faces: FaceDataset,
    *,
    mask: Masked | None = None,
    mask_seed: int = 0,
    fars: Sequence[float] = FARS,
    flip: bool = True,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    threads: int = 2,
    resamples: int = 1000,
    seed: int = 0,
) -> AllPairsReport:
    """Embed a labelled data set, plain, masked or both, and compare all with all.

    Args:
        network: See `embedding.embed_images`.
        faces: The data set; images without a label are left out.
        mask: `one` compares every image, masked, with every other one as it is; `both` masks both;
            None masks none.
        mask_seed: Seed of the masks.
        fars: False accept rates at which to report.
        flip: Whether embeddings are f(x) + f(flip x).
        batch_size: Images a step.
        device: Where batches are put and products computed; by default where the network is.
        threads: How many images are read at a time.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If the data set does not give pairs of both kinds, or an image or
            embedding is unusable.
    """
    check_mask_seed(mask_seed)
    labelled = check_people(faces)

    def embed(masked: bool) -> np.ndarray:
        def image(place: int) -> np.ndarray:
            index = int(labelled[place])
            plain = faces[index].image
            if not masked:
                return plain
            try:
                return put_on_mask(plain, index, mask_seed)
            except FacedistillError as error:
                raise FacedistillError(f"{faces.where(index)}: {error}") from error

        return embed_images(
            network,
            image,
            len(labelled),
            batch_size=batch_size,
            flip=flip,
            device=device,
            threads=threads,
            description=f"{faces.name}{' masked' if masked else ''}",
        )

    probes = embed(mask is not None)
    gallery = embed(False) if mask == "one" else None
    return report_all_pairs(
        faces,
        probes,
        gallery,
        mask=mask,
        mask_seed=mask_seed,
        fars=fars,
        flip=flip,
        resamples=resamples,
        seed=seed,
        device=device_of(network) if device is None else device,
    )


def report_all_pairs(
    faces: FaceDataset,
    probes: np.ndarray,
    gallery: np.ndarray | None = None,
    *,
    mask: Masked | None = None,
    mask_seed: int = 0,
    fars: Sequence[float] = FARS,
    flip: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> AllPairsReport:
    """Measure verification over all pairs on embeddings that are already there.

    Args:
        faces: The data set, for its people.
        probes: (N, D) embeddings of its labelled images, in order, not normalised.
        gallery: (N, D) of the same images otherwise; None compares each pair of probes once.
        mask: What to note about face masks.
        mask_seed: What to note about their seed.
        fars: False accept rates at which to report.
        flip: What to note about the embeddings.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.
        device: Where the products are computed.

    Raises:
        FacedistillError: If embeddings do not fit the data set, or see `compare_all`.
    """
    labelled = check_people(faces)
    people = faces.labels[labelled]
    if len(probes) != len(people):
        raise FacedistillError(
            f"{len(probes):,} embeddings for {len(people):,} labelled images of {faces.name}: "
            "give one row per image"
        )
    compared = compare_all(probes, gallery, people, name=faces.name, device=device)
    points = [tar_at_far(compared.curve, far) for far in fars]
    intervals = {}
    for point in points:
        if resamples and point.threshold is not None:
            accepted = compared.scores >= point.threshold
            intervals[far_name(point.target)] = bootstrap_clusters(
                accepted, people[compared.probes], resamples=resamples, seed=seed
            )
    return AllPairsReport(
        name=faces.name,
        images=len(people),
        people=len(np.unique(people)),
        masked=mask,
        mask_seed=mask_seed,
        flip=flip,
        auc=area_under_curve(compared.curve),
        eer=equal_error_rate(compared.curve),
        points=points,
        intervals=intervals,
        comparison=_numbered(compared, labelled),
    )


def check_people(faces: FaceDataset) -> np.ndarray:
    """Return the indices of the labelled images.

    Raises:
        FacedistillError: If there are no two people, or nobody has two images.
    """
    labelled = np.flatnonzero(faces.labels != UNLABELLED)
    counts = np.unique(faces.labels[labelled], return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        raise FacedistillError(
            f"{faces.name}: {len(labelled):,} labelled images of {len(counts):,} people give no "
            "pairs of both kinds: take a data set of people, some with two images"
        )
    return labelled


def compare_all(
    probes: np.ndarray,
    gallery: np.ndarray | None,
    people: np.ndarray,
    *,
    name: str = "all pairs",
    device: torch.device | str = "cpu",
) -> Comparison:
    """Compare every image with every other one, in blocks.

    Arithmetic is float64 where embeddings are, else float32; scores that differ by less than its
    rounding may be ordered either way. Memory beyond the arguments is that of the unit vectors, of
    the genuine scores and of some blocks of 8 million scores.

    Args:
        probes: (N, D) embeddings, not normalised.
        gallery: (N, D) of the same images otherwise (unmasked, say): every probe is compared with
            every gallery image but its own. None compares each two probes once.
        people: (N,) integers.
        name: What the progress bar says.
        device: Where the products are computed.

    Raises:
        FacedistillError: If shapes do not fit, an embedding has no direction, or pairs of one kind
            are missing.
    """
    people = np.asarray(people)
    if probes.ndim != 2 or people.shape != (len(probes),):
        raise FacedistillError(
            f"embeddings have shape {probes.shape}, people {people.shape}: give one person each"
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
    first, second, scores = _genuine(units, others, people, once=gallery is None)
    if not len(scores) or len(np.unique(people)) < 2:
        raise FacedistillError(f"{name}: pairs of one person and of two people must both be there")
    levels, accepted = np.unique(scores, return_counts=True)
    tally = _Tally(torch.from_numpy(levels).to(device))
    _impostors(units, others, people, tally, once=gallery is None, name=name, device=device)
    return Comparison(
        curve=_curve(levels, accepted, tally),
        probes=first,
        gallery=second,
        scores=scores,
        counts=ScoreCounts(count_cosines(scores), tally.histogram.cpu().numpy()),
        closest=tally.closest(),
    )


def _genuine(
    units: np.ndarray, others: np.ndarray, people: np.ndarray, once: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both images and the score of every genuine pair."""
    order = np.argsort(people, kind="stable")
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for own in np.split(order, np.flatnonzero(np.diff(people[order])) + 1):
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
    people: np.ndarray,
    tally: _Tally,
    *,
    once: bool,
    name: str,
    device: torch.device | str,
) -> None:
    """Count the scores of all pairs of two people."""
    probes, gallery = (torch.from_numpy(each).to(device) for each in (units, others))
    person, number = torch.from_numpy(people).to(device), torch.arange(len(people), device=device)
    blocks = [
        (row, column)
        for row in range(0, len(people), _ROWS)
        for column in range(0, len(people), _COLUMNS)
        if not once or column + _COLUMNS > row
    ]
    for row, column in track(blocks, f"{name}: all pairs", total=len(blocks), unit="blocks"):
        rows, columns = slice(row, row + _ROWS), slice(column, column + _COLUMNS)
        scores = (probes[rows] @ gallery[columns].T).clamp_(-1, 1)
        counted = person[rows, None] != person[None, columns]
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


def _numbered(compared: Comparison, labelled: np.ndarray) -> Comparison:
    """Return a comparison of places among labelled images by the images' own indices."""
    return Comparison(
        curve=compared.curve,
        probes=labelled[compared.probes],
        gallery=labelled[compared.gallery],
        scores=compared.scores,
        counts=compared.counts,
        closest=[
            ScoredPair(int(labelled[pair.probe]), int(labelled[pair.gallery]), pair.score)
            for pair in compared.closest
        ],
    )
