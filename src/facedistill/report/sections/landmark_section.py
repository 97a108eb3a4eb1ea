"""The section of landmark errors."""

from __future__ import annotations

from facedistill.evaluation.protocols.landmark_report import LandmarkReport
from facedistill.evaluation.protocols.protocol_versions import RULES
from facedistill.report.figures.landmark_curve import draw_cumulative
from facedistill.report.page import drawing_uri
from facedistill.report.sections.rate_parts import estimate_texts
from facedistill.report.sections.section import Drawing, Section, Table, Tile
from facedistill.report.table import Column


def landmark_section(report: LandmarkReport) -> Section:
    """Return the section of a report of landmark errors."""
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
            Tile("normalised mean error", *estimate_texts(report.nme)),
            *(
                Tile(f"faces above {100 * limit:g} %", *estimate_texts(rate))
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
