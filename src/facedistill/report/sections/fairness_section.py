"""Errors by group, as tables and a drawing of a section."""

from __future__ import annotations

from typing import Any

from facedistill.evaluation.protocols.fairness_report import Differential, FairnessReport
from facedistill.report.figures.interval_rows import draw_fairness
from facedistill.report.page import drawing_uri
from facedistill.report.sections.fairness_table import GROUP_COLUMNS, threshold_line
from facedistill.report.sections.section import Drawing, Section, Table
from facedistill.report.table import Column


def add_fairness(made: Section, report: FairnessReport) -> None:
    """Add errors by group to a section."""
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
        f"and {report.unknown:,} with an identity of no known group are left out."
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
