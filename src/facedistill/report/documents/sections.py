"""What a report says of each evaluation: figures, tables, drawings and pairs of faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facedistill.core.estimate import Estimate, Interval
from facedistill.data.formats.procedural import PREFIX
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.sample import FaceDataset
from facedistill.evaluation.evaluate import AllPairs, Evaluation, Protocol
from facedistill.evaluation.metrics.identification import OpenSetPoint
from facedistill.evaluation.metrics.roc import OperatingPoint, RocCurve, far_name, roc_curve
from facedistill.evaluation.metrics.score_histogram import ScoreCounts, count_scores
from facedistill.evaluation.perturbations.masked import MaskedPairs, put_on_mask
from facedistill.evaluation.protocols.all_pairs import AllPairsReport, ScoredPair
from facedistill.evaluation.protocols.fairness import Differential, FairnessReport
from facedistill.evaluation.protocols.ijb_templates import IjbReport
from facedistill.evaluation.protocols.landmark_localisation import LandmarkReport
from facedistill.evaluation.protocols.pair_verification import PairReport
from facedistill.evaluation.protocols.protocol_versions import RULES, Rules
from facedistill.evaluation.protocols.robustness import RobustnessReport
from facedistill.report.documents.fairness_table import GROUP_COLUMNS, threshold_line
from facedistill.report.figures.charts import (
    draw_cmc,
    draw_cumulative,
    draw_det,
    draw_distractors,
    draw_fairness,
    draw_robustness,
    draw_roc,
    draw_scores,
    lowest_measured,
)
from facedistill.report.page import drawing_uri, face_uri
from facedistill.report.table import Column

PAIRS_SHOWN = 12
"""Hardest pairs of each kind that a report shows."""


@dataclass(frozen=True)
class Tile:
    """A figure that stands out: what, how much, and how sure."""

    label: str
    value: str
    spread: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a heading and a remark."""

    title: str
    columns: list[Column]
    rows: list[dict[str, Any]]
    remark: str = ""


@dataclass(frozen=True)
class Drawing:
    """A drawing as a data URI, what it shows, and whether it takes the page's whole width."""

    title: str
    uri: str
    remark: str = ""
    wide: bool = False


@dataclass(frozen=True)
class FacePair:
    """Two faces as they were compared.

    Attributes:
        left: Data URI.
        right: Data URI.
        names: What the images are called.
        score: Their cosine.
        verdict: What the network's threshold makes of it.
        wrong: Whether that is an error.
    """

    left: str
    right: str
    names: tuple[str, str]
    score: float
    verdict: str
    wrong: bool


@dataclass(frozen=True)
class Gallery:
    """Pairs of faces with a heading and a remark."""

    title: str
    remark: str
    pairs: list[FacePair]


@dataclass(frozen=True)
class Section:
    """One evaluation.

    Attributes:
        title: What it was measured on.
        line: Its figures as one text.
        rules: The protocols.
        data: The data's own fingerprint, where it has one.
        tiles: The figures that matter most.
        tables: All figures.
        drawings: Curves.
        galleries: The hardest pairs.
        remarks: What else a reader must know.
        curves: ROC curves by name, for the JSON document.
    """

    title: str
    line: str
    rules: list[Rules]
    data: str | None = None
    tiles: list[Tile] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    curves: dict[str, RocCurve] = field(default_factory=dict)


def section(
    evaluation: Evaluation, protocol: Protocol | None = None, mask_seed: int = 0
) -> Section:
    """Return what there is to say of one evaluation.

    Args:
        evaluation: What was found.
        protocol: What it was measured on; None shows no faces.
        mask_seed: Seed of the masks that pairs wore.
    """
    report = evaluation.report
    if isinstance(report, PairReport):
        pairset = protocol if isinstance(protocol, PairSet) else None
        made = _pairs(report, pairset, mask_seed)
    elif isinstance(report, AllPairsReport):
        faces = protocol.faces if isinstance(protocol, AllPairs) else None
        made = _all_pairs(report, faces)
    elif isinstance(report, IjbReport):
        made = _ijb(report)
    elif isinstance(report, LandmarkReport):
        made = _landmarks(report)
    else:
        made = _other(report)
    if evaluation.difference is not None:
        made.tables.append(_difference(evaluation.difference))
    if evaluation.robustness is not None:
        made.rules.append(RULES["robustness"])
        _add_robustness(made, evaluation.robustness)
    for groups in evaluation.fairness:
        if RULES["fairness"] not in made.rules:
            made.rules.append(RULES["fairness"])
        _add_fairness(made, groups)
    if report.name.startswith(PREFIX):
        made.rules.append(RULES["procedural"])
    return made


# Pairs


def _pairs(report: PairReport, pairset: PairSet | None, mask_seed: int) -> Section:
    curve = roc_curve(report.scores, report.same)
    result = report.result
    threshold = float(np.median(result.cosine_thresholds))
    made = Section(
        title=report.title,
        line=report.line(),
        rules=[RULES[report.protocol], RULES["tar_at_far"], *_masks(report.masked)],
        data=None if pairset is None else pairset.faces.fingerprint,
        tiles=[
            Tile("accuracy", _percent(report.accuracy), _spread(result.interval)),
            *_tar_tiles(report.points, report.tar_intervals),
            Tile("equal error rate", _percent(report.eer.value), _spread(report.eer.interval)),
            Tile(
                "area under ROC",
                f"{report.auc.value:.4f}",
                _spread(report.auc.interval, 4, scale=1),
            ),
        ],
        tables=[_accuracies(report), _operating_points(report.points, report.tar_intervals)],
        drawings=[
            *_curves({report.name: curve}, report.points, report.tar_intervals),
            _scores(count_scores(report.scores, report.same), report.points),
        ],
        remarks=[
            f"{report.genuine:,} genuine and {report.impostors:,} impostor pairs, "
            f"{len(result.fold_accuracy)} folds; embeddings "
            f"{'f(x) + f(mirrored x)' if report.flip else 'of the images as they are'}."
        ],
        curves={report.name: curve},
    )
    if report.masked is not None:
        made.remarks.append(f"Masks are drawn by seed {mask_seed}.")
    if pairset is None:
        made.remarks.append(_NO_IMAGES)
        return made
    shown = pairset if report.masked is None else MaskedPairs(pairset, report.masked, mask_seed)
    decided = f"cosine {threshold:.4f}, the median of the folds'"
    for same, pairs in ((False, _hardest(report, False)), (True, _hardest(report, True))):
        scored = [
            ScoredPair(
                int(shown.pairs[pair, 0]), int(shown.pairs[pair, 1]), report.scores.item(pair)
            )
            for pair in pairs.tolist()
        ]
        names = [(pairset.image_names[a], pairset.image_names[b]) for a, b in pairset.pairs[pairs]]
        wrong = int(((report.scores[report.same == same] >= threshold) != same).sum())
        image = shown.image
        made.galleries.append(
            _gallery(same, scored, names, threshold, decided, wrong, image, image)
        )
    return made


def _hardest(report: PairReport, same: bool) -> np.ndarray:
    """Return the pairs of one kind that a threshold gets wrong soonest."""
    own = np.flatnonzero(report.same == same)
    order = np.argsort(report.scores[own] if same else -report.scores[own], kind="stable")
    return own[order[:PAIRS_SHOWN]]


def _accuracies(report: PairReport) -> Table:
    rows = [
        {
            "protocol": name,
            "accuracy": result.estimate,
            "std": result.std,
            "threshold": float(np.median(result.cosine_thresholds)),
            "over": _over(result.interval),
        }
        for name, result in report.verification.items()
    ]
    columns = [
        Column("protocol"),
        Column("accuracy", digits=2, percent=True),
        Column("std", "std of folds", digits=2, percent=True),
        Column("threshold", "median threshold (cosine)"),
        Column("over", "interval over"),
    ]
    return Table("K-fold accuracy", columns, rows, f"The headline is by {report.protocol}.")


def _all_pairs(report: AllPairsReport, faces: FaceDataset | None) -> Section:
    compared = report.comparison
    curves = {report.title: compared.curve}
    made = Section(
        title=report.title,
        line=report.line(),
        rules=[RULES["all_pairs"], RULES["tar_at_far"], *_masks(report.masked)],
        data=None if faces is None else faces.fingerprint,
        tiles=[
            *_tar_tiles(report.points, report.intervals),
            Tile("equal error rate", _percent(report.eer)),
            Tile("area under ROC", f"{report.auc:.6f}"),
        ],
        tables=[_operating_points(report.points, report.intervals)],
        drawings=[
            *_curves(curves, report.points, report.intervals),
            _scores(compared.counts, report.points),
        ],
        remarks=[
            f"{report.images:,} images of {report.people:,} people: {report.genuine:,} genuine and "
            f"{report.impostors:,} impostor pairs. Intervals are over people, at the threshold "
            "found."
        ],
        curves=curves,
    )
    if report.masked is not None:
        made.remarks.append(f"Masks are drawn by seed {report.mask_seed}.")
    measured = [point for point in report.points if point.threshold is not None]
    if faces is None or not measured:
        if faces is None:
            made.remarks.append(_NO_IMAGES)
        return made
    point = min(measured, key=lambda each: each.target)
    threshold = float(point.threshold or 0)
    decided = f"cosine {threshold:.4f}, for FAR {far_name(point.target)}"

    def plain(index: int) -> np.ndarray:
        return faces[index].image

    def masked(index: int) -> np.ndarray:
        return put_on_mask(plain(index), index, report.mask_seed)

    left = plain if report.masked is None else masked
    right = masked if report.masked == "both" else plain
    refused = int((compared.scores < threshold).sum())
    accepted = round((point.far or 0) * report.impostors)
    for same, pairs, wrong in (
        (False, compared.closest, accepted),
        (True, report.farthest(), refused),
    ):
        shown = pairs[:PAIRS_SHOWN]
        names = [(faces.where(pair.probe), faces.where(pair.gallery)) for pair in shown]
        made.galleries.append(_gallery(same, shown, names, threshold, decided, wrong, left, right))
    return made


_Image = Callable[[int], np.ndarray]


def _gallery(
    same: bool,
    pairs: Sequence[ScoredPair],
    names: Sequence[tuple[str, str]],
    threshold: float,
    decided: str,
    errors: int,
    left: _Image,
    right: _Image,
) -> Gallery:
    kind, error = ("genuine", "false reject") if same else ("impostor", "false accept")
    shown = [
        FacePair(
            face_uri(left(pair.probe)),
            face_uri(right(pair.gallery)),
            called,
            pair.score,
            error if (pair.score >= threshold) != same else "decided rightly",
            (pair.score >= threshold) != same,
        )
        for pair, called in zip(pairs, names, strict=True)
    ]
    return Gallery(
        f"Hardest {error}s",
        f"The {kind} pairs with the {'lowest' if same else 'highest'} scores. At {decided}, "
        f"{errors:,} of the {kind} pairs {'is' if errors == 1 else 'are'} decided wrongly.",
        shown,
    )


_NO_IMAGES = "No images were at hand, so the hardest pairs are not shown."


# Templates, distractors, and whatever else has a line and figures


def _ijb(report: IjbReport) -> Section:
    made = Section(
        title=report.name,
        line=report.line(),
        rules=[RULES["ijb_templates"]],
        remarks=[
            f"{report.faces:,} faces in {report.templates:,} templates. Templates pool many "
            "images, so no pairs of faces are shown.",
            "Variants: N, an embedding's length counts; D, times the detector's score; F, the "
            "mirrored embedding is added.",
        ],
    )
    if report.verification:
        first = report.verification[0]
        made.tiles.extend(_tar_tiles(first.points, first.intervals, f", {first.variant.name}"))
        curves = {part.variant.name: part.curve for part in report.verification}
        made.curves.update(curves)
        made.drawings.extend(_curves(curves, first.points, first.intervals))
        made.drawings.append(_scores(first.counts, first.points))
        made.remarks.append(
            f"{first.genuine:,} genuine and {first.impostors:,} impostor pairs of templates."
        )
        for part in report.verification:
            table = _operating_points(part.points, part.intervals, f"1:1, {part.variant.name}")
            made.tables.append(table)
    if report.identification:
        made.rules.append(RULES["ijb_identification"])
        best = report.identification[0]
        made.tiles.append(
            Tile(f"rank-1, {best.variant.name}", *_estimate(best.ranks[min(best.ranks)]))
        )
        made.tables.append(_ranks(report))
        made.tables.append(_open_sets(report))
        curves_by_rank = {
            f"{part.variant.name} {gallery.name}" if len(report.identification) > 1
            else gallery.name: gallery.cmc
            for part in report.identification
            for gallery in part.galleries
        }  # fmt: skip
        made.drawings.append(
            Drawing("CMC", drawing_uri(draw_cmc(curves_by_rank)), "Mates among the k best.")
        )
    return made


def _ranks(report: IjbReport) -> Table:
    rows = [
        {
            "variant": part.variant.name,
            **{f"rank-{k}": estimate for k, estimate in part.ranks.items()},
            **{f"TPIR@{name}": rate for name, rate in part.tpir.items()},
            "probes": part.probes,
        }
        for part in report.identification
    ]
    columns = [
        Column("variant"),
        *(
            Column(key, digits=2, percent=True)
            for key in rows[0]
            if key.startswith(("rank-", "TPIR@"))
        ),
        Column("probes"),
    ]
    return Table("1:N over all galleries", columns, rows)


def _open_sets(report: IjbReport) -> Table:
    def row(variant: str, gallery: str, point: OpenSetPoint) -> dict[str, Any]:
        return {
            "variant": variant,
            "gallery": gallery,
            "fpir": far_name(point.target),
            "tpir": point.tpir if point.tpir is not None else "not measurable",
            "actual": None if point.fpir is None else f"{point.fpir:.2e}",
            "threshold": point.threshold,
            "non_mated": point.non_mated,
        }

    rows = [
        row(part.variant.name, gallery.name, point)
        for part in report.identification
        for gallery in part.galleries
        for point in gallery.open_set
    ]
    columns = [
        Column("variant"),
        Column("gallery"),
        Column("fpir", "FPIR"),
        Column("tpir", "TPIR", digits=2, percent=True),
        Column("actual", "actual FPIR"),
        Column("threshold", "threshold (cosine)"),
        Column("non_mated", "non-mated probes"),
    ]
    return Table("1:N, open set", columns, rows)


def _landmarks(report: LandmarkReport) -> Section:
    rows = [
        {"limit": f"{100 * limit:g} %", "failures": rate, "auc": report.auc[limit]}
        for limit, rate in report.failures.items()
    ]
    columns = [
        Column("limit", "error up to"),
        Column("failures", "faces above", digits=2, percent=True),
        Column("auc", "area below the curve"),
    ]
    points = [
        {"point": name, "error": error} for name, error in report.to_dict()["point_errors"].items()
    ]
    by_point = [Column("point"), Column("error", "mean error", digits=2, percent=True)]
    return Section(
        title=report.name,
        line=report.line(),
        rules=[RULES["landmarks"]],
        tiles=[
            Tile("normalised mean error", *_estimate(report.nme)),
            *(
                Tile(f"faces above {100 * limit:g} %", *_estimate(rate))
                for limit, rate in report.failures.items()
            ),
        ],
        tables=[Table("Failures", columns, rows), Table("Points", by_point, points)],
        drawings=[
            Drawing(
                "Cumulative error",
                drawing_uri(draw_cumulative(report.face_errors, max(report.failures))),
                "Share of faces up to each error, over the distance of the eyes.",
            )
        ],
        remarks=[f"{len(report.errors):,} faces, {report.errors.shape[1]} points each."],
    )


def _other(report: Any) -> Section:
    """Show a report by its line and, among distractors, its curve."""
    made = Section(title=getattr(report, "title", report.name), line=report.line(), rules=[])
    rates = getattr(report, "rates", None)
    if not rates:
        return made
    made.rules.append(RULES["distractors"])
    last = [rate for rate in rates if rate.distractors == rates[-1].distractors]
    made.tiles.extend(
        Tile(f"rank-{rate.rank} among {rate.distractors:,}", *_estimate(rate.rate)) for rate in last
    )
    rows = [
        {"distractors": rate.distractors, "rank": rate.rank, "rate": rate.rate} for rate in rates
    ]
    columns = [
        Column("distractors"),
        Column("rank"),
        Column("rate", "identification rate", digits=2, percent=True),
    ]
    made.tables.append(Table("Identification among distractors", columns, rows))
    made.drawings.append(
        Drawing(
            "Identification rate",
            drawing_uri(draw_distractors(rates)),
            "The mate's rank among growing numbers of strangers.",
        )
    )
    made.remarks.append(
        f"{rates[0].searches:,} searches by {report.images:,} photos of {report.people:,} people. "
        "Intervals are over people."
    )
    return made


# Parts that several sections have


def _masks(masked: str | None) -> list[Rules]:
    return [] if masked is None else [RULES["masks"]]


def _tar_tiles(
    points: Sequence[OperatingPoint], intervals: Mapping[str, Interval], of: str = ""
) -> list[Tile]:
    """Return the true accept rate at 1e-4, or at the lowest rate measured."""
    measured = [point for point in points if point.tar is not None]
    if not measured:
        return []
    chosen = next(
        (point for point in measured if point.target == 1e-4),
        next(p for p in measured if p.target == lowest_measured([points])),
    )
    name = far_name(chosen.target)
    return [Tile(f"TAR@{name}{of}", _percent(chosen.tar), _spread(intervals.get(name)))]


def _operating_points(
    points: Sequence[OperatingPoint],
    intervals: Mapping[str, Interval],
    title: str = "True accept rates",
) -> Table:
    rows = []
    for point in sorted(points, key=lambda each: -each.target):
        name = far_name(point.target)
        interval = intervals.get(name)
        rows.append(
            {
                "far": name,
                "tar": "not measurable" if point.tar is None else Estimate(point.tar, interval),
                "actual": None if point.far is None else f"{point.far:.2e}",
                "threshold": point.threshold,
                "over": _over(interval) if point.reason is None else point.reason,
            }
        )
    columns = [
        Column("far", "FAR"),
        Column("tar", "TAR", digits=2, percent=True),
        Column("actual", "actual FAR"),
        Column("threshold", "threshold (cosine)"),
        Column("over", "interval over"),
    ]
    return Table(title, columns, rows)


def _curves(
    curves: Mapping[str, RocCurve],
    points: Sequence[OperatingPoint],
    intervals: Mapping[str, Interval],
) -> list[Drawing]:
    return [
        Drawing(
            "ROC",
            drawing_uri(draw_roc(curves, points, intervals)),
            "The rate of false accepts is on a logarithmic axis; bars are 95 % intervals.",
        ),
        Drawing(
            "DET",
            drawing_uri(draw_det(curves)),
            "Both errors as normal deviates; on the dashed line they are equal.",
        ),
    ]


def _scores(counts: ScoreCounts, points: Sequence[OperatingPoint]) -> Drawing:
    thresholds = {
        f"FAR {far_name(point.target)}": point.threshold
        for point in points
        if point.threshold is not None
    }
    return Drawing(
        "Scores",
        drawing_uri(draw_scores(counts, thresholds)),
        "Shares of genuine and of impostor pairs; dashed, the thresholds.",
    )


def _difference(difference: Any) -> Table:
    rows = [
        {
            "figure": name,
            "difference": compared.estimate,
            "p": f"{compared.p_value:.2g}",
            "first": compared.only_first,
            "second": compared.only_second,
        }
        for name, compared in {
            "accuracy": difference.accuracy,
            **{f"TAR@{name}": compared for name, compared in difference.tar.items()},
        }.items()
    ]
    columns = [
        Column("figure"),
        Column("difference", digits=2, percent=True),
        Column("p", "McNemar p"),
        Column("first", "right only here"),
        Column("second", "right only there"),
    ]
    return Table(
        "Difference from the other network",
        columns,
        rows,
        "On the same pairs; intervals by paired bootstrap.",
    )


def _add_robustness(made: Section, report: RobustnessReport) -> None:
    who = "both images" if report.which == "both" else "the second image"
    targets = [far_name(point.target) for point in report.rows[0].report.points]
    rows = []
    for row in report.rows:
        cells: dict[str, Any] = {
            "condition": row.name,
            "accuracy": row.report.result.estimate,
            "loss": None if row.loss is None else row.loss.estimate,
            "eer": row.report.eer,
            "meaning": row.meaning,
        }
        for point in row.report.points:
            name = far_name(point.target)
            if point.tar is not None:
                cells[f"TAR@{name}"] = Estimate(point.tar, row.report.tar_intervals.get(name))
        rows.append(cells)
    columns = [
        Column("condition"),
        Column("accuracy", digits=2, percent=True),
        Column("loss", "difference", digits=2, percent=True),
        *(
            Column(f"TAR@{name}", digits=2, percent=True)
            for name in targets
            if any(f"TAR@{name}" in cells for cells in rows)
        ),
        Column("eer", "EER", digits=2, percent=True),
        Column("meaning", "what was done"),
    ]
    left_out = ""
    if report.left_out:
        left_out = f" Left out, for the images are no larger: {', '.join(report.left_out)}."
    remark = (
        f"Altered: {who} of each pair. Differences are of accuracy against the pairs as they are, "
        f"by paired bootstrap. Masks are drawn by seed {report.mask_seed}.{left_out}"
    )
    made.tables.append(Table("Robustness", columns, rows, remark))
    made.drawings.append(
        Drawing(
            "Robustness",
            drawing_uri(draw_robustness(report)),
            f"Altered: {who} of each pair; bars are 95 % intervals.",
            wide=True,
        )
    )


def _add_fairness(made: Section, report: FairnessReport) -> None:
    rows = [
        {
            "group": group.group,
            "fmr": group.fmr,
            "fnmr": group.fnmr,
            "genuine": group.genuine,
            "impostors": group.impostors,
            "left_out": group.left_out,
        }
        for group in report.groups
    ]
    remark = (
        f"{threshold_line(report.threshold, report.target)}; {report.mixed:,} pairs of two groups "
        f"and {report.unknown:,} with somebody of no known group are left out."
    )
    made.tables.append(Table(f"Errors by {report.attribute}", [*GROUP_COLUMNS], rows, remark))
    made.tables.append(_differentials(report))
    made.drawings.append(
        Drawing(
            f"Errors by {report.attribute}",
            drawing_uri(draw_fairness(report)),
            "Bars are 95 % intervals; * left out of the summary.",
            wide=True,
        )
    )


def _differentials(report: FairnessReport) -> Table:
    def row(differential: Differential) -> dict[str, Any]:
        return {
            "rate": differential.rate,
            "worst": differential.worst,
            "best": differential.best,
            "to_best": differential.worst_to_best,
            "to_mean": differential.worst_to_geometric_mean,
            "gini": differential.gini,
            "reason": differential.reason,
        }

    columns = [
        Column("rate"),
        Column("worst", "worst group"),
        Column("best", "best group"),
        Column("to_best", "worst / best", digits=2),
        Column("to_mean", "worst / geometric mean", digits=2),
        Column("gini", "Gini", digits=3),
        Column("reason", "remark"),
    ]
    remark = ""
    if report.garbe is not None:
        remark = f"GARBE, the mean of both Gini coefficients: {report.garbe.text(3)}."
    return Table(
        f"How far apart, by {report.attribute}",
        columns,
        [row(report.fmr), row(report.fnmr)],
        remark,
    )


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f} %"


def _spread(interval: Interval | None, digits: int = 2, scale: float = 100) -> str:
    return "" if interval is None else interval.text(digits, scale=scale)


def _estimate(estimate: Estimate) -> tuple[str, str]:
    return _percent(estimate.value), _spread(estimate.interval)


def _over(interval: Interval | None) -> str:
    return "no interval" if interval is None else f"{interval.units:,} {interval.over}"
