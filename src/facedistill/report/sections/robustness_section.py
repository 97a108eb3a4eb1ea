"""What altered images cost, as a table and a drawing of a section."""

from __future__ import annotations

from typing import Any

from facedistill.core.estimate import Estimate
from facedistill.evaluation.metrics.roc import far_name
from facedistill.evaluation.protocols.robustness import RobustnessReport
from facedistill.report.figures.interval_rows import draw_robustness
from facedistill.report.page import drawing_uri
from facedistill.report.sections.section import Drawing, Section, Table
from facedistill.report.table import Column


def add_robustness(made: Section, report: RobustnessReport) -> None:
    """Add what altered images cost to a section."""
    altered = "both images" if report.which == "both" else "the second image"
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
        f"Altered: {altered} of each pair. Differences are of accuracy against the pairs as they "
        f"are, by paired bootstrap. Masks are drawn by seed {report.mask_seed}.{left_out}"
    )
    made.tables.append(Table("Robustness", columns, rows, remark))
    made.drawings.append(
        Drawing(
            "Robustness",
            drawing_uri(draw_robustness(report)),
            f"Altered: {altered} of each pair; bars are 95 % intervals.",
            wide=True,
        )
    )
