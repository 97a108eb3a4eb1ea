"""IJB-B and IJB-C: templates compared 1:1, and searched for in two galleries.

Everything follows from one embedding per face (and one per mirrored face), so a network is asked
once, or never where the embeddings are there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.data.formats.ijb_files import IjbFiles, TemplateList
from facedistill.evaluation.embedding import Network, embed_images
from facedistill.evaluation.metrics.identification import (
    FPIRS,
    RANKS,
    Matches,
    OpenSetPoint,
    ThresholdRule,
    cmc,
    open_set,
    search_gallery,
)
from facedistill.evaluation.metrics.roc import (
    OperatingPoint,
    RocCurve,
    area_under_curve,
    far_name,
    roc_curve,
    tar_at_far,
    tar_at_nearest_far,
)
from facedistill.evaluation.metrics.score_histogram import ScoreCounts, count_scores
from facedistill.evaluation.metrics.templates import (
    MOST,
    Templates,
    Variant,
    pool_templates,
    row_similarities,
    template_rows,
)
from facedistill.evaluation.protocols.pair_verification import MIN_IDENTITIES
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters
from facedistill.evaluation.statistics.tar_bootstrap import (
    tar_intervals,
    tar_intervals_over_identities,
)

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""The false accept rates at which IJB is reported."""


@dataclass(frozen=True)
class TemplateVerification:
    """The 1:1 figures of one variant.

    Attributes:
        variant: What faces contributed.
        genuine: Number of genuine pairs.
        impostors: Number of impostor pairs.
        auc: Area under the ROC curve.
        points: Best true accept rate at each false accept rate.
        intervals: The true accept rates' 95 % intervals by `far_name`, over people where there are
            enough, else over pairs.
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
        mated: Number of probes whose person is in it.
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
            intervals over people.
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
class IjbReport:
    """All figures on one set of IJB protocol files.

    Attributes:
        name: `IJBB`, `IJBC`, ...
        faces: Number of faces.
        templates: Number of templates.
        verification: 1:1, one per variant; empty without a list of pairs.
        identification: 1:N, one per variant; empty without galleries and probes.
    """

    name: str
    faces: int
    templates: int
    verification: list[TemplateVerification]
    identification: list[TemplateIdentification]

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


def embed_ijb(
    network: Network,
    files: IjbFiles,
    *,
    flip: bool = True,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    threads: int = 2,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the embeddings of all faces, aligned by their landmarks, and of the mirrored faces.

    Args:
        network: See `embedding.embed_images`.
        files: The protocol files, with landmarks and photos.
        flip: Whether to embed the mirrored faces too.
        batch_size: Faces a step.
        device: Where batches are put.
        threads: How many photos are read at a time.

    Returns:
        float32 (N, D) and, with `flip`, float32 (N, D).
    """

    def embed(image: Any, description: str) -> np.ndarray:
        return embed_images(
            network,
            image,
            len(files),
            batch_size=batch_size,
            flip=False,
            device=device,
            threads=threads,
            description=description,
        )

    plain = embed(files.face, files.name)
    if not flip:
        return plain, None
    return plain, embed(lambda index: files.face(index)[:, ::-1].copy(), f"{files.name} mirrored")


def evaluate_ijb(
    files: IjbFiles,
    embeddings: np.ndarray,
    flipped: np.ndarray | None = None,
    *,
    variants: Sequence[Variant] = (MOST,),
    fars: Sequence[float] = FARS,
    fpirs: Sequence[float] = FPIRS,
    rule: ThresholdRule = "ijb_evals",
    resamples: int = 1000,
    seed: int = 0,
) -> IjbReport:
    """Measure all protocols whose files are there.

    Args:
        files: The protocol files.
        embeddings: (N, D) floats of the faces in the files' order, not normalised.
        flipped: (N, D) embeddings of the mirrored faces, for variants with flip.
        variants: Which variants.
        fars: False accept rates of the 1:1 protocol.
        fpirs: False positive identification rates of the 1:N protocol.
        rule: How the open set's thresholds are set, see `identification.open_set`.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If files, embeddings or variants do not fit each other.
    """
    check_ijb(files)
    rows = people = None
    if files.pairs is not None and files.same is not None:
        known = np.unique(files.templates)
        rows = template_rows(known, files.pairs, f"{files.name} pairs").astype(np.int32)
        people = _people(rows, files.same, len(known))
    verified, identified = [], []
    for variant in variants:
        templates = pool_templates(
            embeddings,
            files.templates,
            files.media,
            variant=variant,
            flipped=flipped,
            detector_scores=files.detector_scores,
        )
        if rows is not None and files.same is not None:
            scores = row_similarities(templates.embeddings, rows)
            verified.append(_verify(variant, scores, files.same, people, fars, resamples, seed))
        if files.galleries and files.probes is not None:
            identified.append(
                _identify(
                    variant, templates, files.probes, files.galleries, fpirs, rule, resamples, seed
                )
            )
    return IjbReport(files.name, len(files), len(np.unique(files.templates)), verified, identified)


def check_ijb(files: IjbFiles) -> None:
    """Refuse protocol files that contradict themselves, before any face is embedded.

    Raises:
        FacedistillError: If there is nothing to measure, a template has no media, a pair is listed
            twice or joins a template to itself, or all pairs are of one kind.
    """
    known = np.unique(files.templates)
    if files.pairs is None and not (files.galleries and files.probes is not None):
        raise FacedistillError(
            f"{files.name}: neither a list of template pairs nor galleries and probes: "
            "there is nothing to measure"
        )
    for listed in (*files.galleries, *([files.probes] if files.probes else [])):
        template_rows(known, listed.templates, listed.name)
    if files.pairs is None or files.same is None:
        return
    rows = template_rows(known, files.pairs, f"{files.name} pairs").astype(np.int64)
    low, high = rows.min(axis=1), rows.max(axis=1)
    itself = np.flatnonzero(low == high)
    if len(itself):
        raise FacedistillError(
            f"{files.name}: pair {itself[0]} joins template {files.pairs[itself[0], 0]} to itself: "
            "remove it"
        )
    keys = np.sort(low * len(known) + high)
    again = np.flatnonzero(keys[1:] == keys[:-1])
    if len(again):
        left, right = divmod(int(keys[again[0]]), len(known))
        raise FacedistillError(
            f"{files.name}: the pair of templates {known[left]} and {known[right]} is listed more "
            f"than once ({len(again):,} such lines): list each pair once"
        )
    if files.same.all() or not files.same.any():
        missing = "different" if files.same.all() else "same"
        raise FacedistillError(
            f"{files.name}: none of the {len(files.same):,} pairs is of {missing} people: "
            "error rates need pairs of both kinds"
        )


def _people(rows: np.ndarray, same: np.ndarray, templates: int) -> np.ndarray | None:
    """Return the two people of every pair, int32 (P, 2); None if there are too few to resample.

    The 1:1 lists do not name people, but templates joined by genuine pairs are of one person.
    """
    left, right = rows[same].T
    joined = sparse.csr_array(
        (np.ones(len(left), np.int8), (left, right)), shape=(templates, templates)
    )
    _, person = sparse.csgraph.connected_components(joined, directed=False)
    if len(np.unique(person[left])) < MIN_IDENTITIES:
        return None
    return person[rows]


def _verify(
    variant: Variant,
    scores: np.ndarray,
    same: np.ndarray,
    people: np.ndarray | None,
    fars: Sequence[float],
    resamples: int,
    seed: int,
) -> TemplateVerification:
    whole = roc_curve(scores, same)
    nearest = [tar_at_nearest_far(whole, far) for far in fars]
    curve = whole.thinned()
    if people is None:
        intervals = tar_intervals(curve, fars, resamples=resamples, seed=seed)
    else:
        intervals = tar_intervals_over_identities(
            scores, same, people, fars, resamples=resamples, seed=seed
        )
    return TemplateVerification(
        variant=variant,
        genuine=curve.genuine,
        impostors=curve.impostors,
        auc=area_under_curve(curve),
        points=[tar_at_far(curve, far) for far in fars],
        intervals=intervals,
        nearest=nearest,
        curve=curve,
        counts=count_scores(scores, same),
    )


def _identify(
    variant: Variant,
    templates: Templates,
    probes: TemplateList,
    galleries: Sequence[TemplateList],
    fpirs: Sequence[float],
    rule: ThresholdRule,
    resamples: int,
    seed: int,
) -> TemplateIdentification:
    asked = templates.embeddings[templates.rows(probes.templates, probes.name)]
    results, searches = [], []
    for gallery in galleries:
        entries = templates.embeddings[templates.rows(gallery.templates, gallery.name)]
        matches = search_gallery(asked, probes.subjects, entries, gallery.subjects)
        searches.append(matches)
        points = open_set(
            matches, probes.subjects, fpirs, rule=rule, resamples=resamples, seed=seed
        )
        results.append(
            GalleryResult(
                gallery.name,
                matches.entries,
                int(matches.mated.sum()),
                cmc(matches, min(matches.entries, 100)),
                points,
            )
        )
    return TemplateIdentification(
        variant=variant,
        probes=len(asked),
        rule=rule,
        galleries=results,
        ranks=_pooled_ranks(searches, probes.subjects, resamples, seed),
        tpir={far_name(fpir): _mean_tpir(results, place) for place, fpir in enumerate(fpirs)},
    )


def _pooled_ranks(
    searches: Sequence[Matches], people: np.ndarray, resamples: int, seed: int
) -> dict[int, Estimate]:
    """Return rank-k rates over the mated searches of all galleries."""
    ranks = np.concatenate([matches.rank[matches.mated] for matches in searches])
    searched = np.concatenate([people[matches.mated] for matches in searches])
    return {
        k: Estimate(
            float((ranks <= k).mean()),
            bootstrap_clusters(ranks <= k, searched, resamples=resamples, seed=seed)
            if resamples
            else None,
        )
        for k in RANKS
    }


def _mean_tpir(results: Sequence[GalleryResult], place: int) -> float | None:
    rates = [gallery.open_set[place].tpir for gallery in results]
    values = [rate.value for rate in rates if rate is not None]
    return float(np.mean(values)) if len(values) == len(results) else None


def _optional_dict(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else asdict(interval)


def _tar_text(point: OperatingPoint, intervals: dict[str, Interval]) -> str:
    name = far_name(point.target)
    if point.tar is None:
        return f"TAR@{name} not measurable"
    return f"TAR@{name} {Estimate(point.tar, intervals.get(name)).percent()}"
