"""The section of identification among distractors."""

from __future__ import annotations

from facedistill.evaluation.protocols.distractors import DistractorReport
from facedistill.evaluation.protocols.protocol_versions import RULES
from facedistill.report.figures.identification_figures import draw_distractors
from facedistill.report.page import drawing_uri
from facedistill.report.sections.rate_parts import estimate_texts
from facedistill.report.sections.section import Drawing, Section, Table, Tile
from facedistill.report.table import Column


def distractor_section(report: DistractorReport) -> Section:
    """Return the section of a report of identification among distractors."""
    rates = report.rates
    made = Section(report.title, report.line(), [RULES["distractors"]])
    last = [rate for rate in rates if rate.distractors == rates[-1].distractors]
    made.tiles.extend(
        Tile(f"rank-{rate.rank} among {rate.distractors:,}", *estimate_texts(rate.rate))
        for rate in last
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
            "The mate's rank among growing numbers of distractors.",
        )
    )
    made.remarks.append(
        f"{rates[0].searches:,} searches by {report.images:,} photos of {report.identities:,} "
        "identities. Intervals are over identities."
    )
    return made
