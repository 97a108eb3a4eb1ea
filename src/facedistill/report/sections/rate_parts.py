"""Tiles, tables and drawings of error rates, which several sections share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.metrics.roc import OperatingPoint, RocCurve, far_name
from facedistill.evaluation.metrics.score_histogram import ScoreCounts
from facedistill.evaluation.protocols.protocol_versions import RULES, Rules
from facedistill.report.figures.roc_figures import draw_det, draw_roc, draw_scores, lowest_measured
from facedistill.report.page import drawing_uri
from facedistill.report.sections.section import Drawing, Table, Tile
from facedistill.report.table import Column


def mask_rules(masked: str | None) -> list[Rules]:
    """Return the rules of masks where images wore some."""
    return [] if masked is None else [RULES["masks"]]


def tar_tiles(
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
    return [Tile(f"TAR@{name}{of}", percent(chosen.tar), spread(intervals.get(name)))]


def operating_points(
    points: Sequence[OperatingPoint],
    intervals: Mapping[str, Interval],
    title: str = "True accept rates",
) -> Table:
    """Return a table of true accept rates, from the highest false accept rate to the lowest."""
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
                "over": interval_units(interval) if point.reason is None else point.reason,
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


def curve_drawings(
    curves: Mapping[str, RocCurve],
    points: Sequence[OperatingPoint],
    intervals: Mapping[str, Interval],
) -> list[Drawing]:
    """Return the ROC and the DET curve; points and intervals are of the first curve."""
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


def score_drawing(counts: ScoreCounts, points: Sequence[OperatingPoint]) -> Drawing:
    """Return how the scores of both kinds of pairs are spread."""
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


def percent(rate: float | None) -> str:
    """Return a rate as text."""
    return "-" if rate is None else f"{100 * rate:.2f} %"


def spread(interval: Interval | None, digits: int = 2, scale: float = 100) -> str:
    """Return an interval as text; nothing without one."""
    return "" if interval is None else interval.text(digits, scale=scale)


def estimate_texts(estimate: Estimate) -> tuple[str, str]:
    """Return a rate and its interval as two texts, for a tile."""
    return percent(estimate.value), spread(estimate.interval)


def interval_units(interval: Interval | None) -> str:
    """Return what an interval was resampled over, and how many of it there were."""
    return "no interval" if interval is None else f"{interval.units:,} {interval.over}"
