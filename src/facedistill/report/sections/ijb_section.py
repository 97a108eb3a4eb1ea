"""The section of the IJB protocols: templates compared and searched."""

from __future__ import annotations

from typing import Any

from facedistill.evaluation.metrics.identification import OpenSetPoint
from facedistill.evaluation.metrics.roc import far_name
from facedistill.evaluation.protocols.ijb_report import IjbReport
from facedistill.evaluation.protocols.protocol_versions import RULES
from facedistill.report.figures.identification_figures import draw_cmc
from facedistill.report.page import drawing_uri
from facedistill.report.sections.rate_parts import (
    curve_drawings,
    estimate_texts,
    operating_points,
    score_drawing,
    tar_tiles,
)
from facedistill.report.sections.section import Drawing, Section, Table, Tile
from facedistill.report.table import Column


def ijb_section(report: IjbReport) -> Section:
    """Return the section of a report of an IJB protocol."""
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
        made.tiles.extend(tar_tiles(first.points, first.intervals, f", {first.variant.name}"))
        curves = {part.variant.name: part.curve for part in report.verification}
        made.curves.update(curves)
        made.drawings.extend(curve_drawings(curves, first.points, first.intervals))
        made.drawings.append(score_drawing(first.counts, first.points))
        made.remarks.append(
            f"{first.genuine:,} genuine and {first.impostors:,} impostor pairs of templates."
        )
        for part in report.verification:
            table = operating_points(part.points, part.intervals, f"1:1, {part.variant.name}")
            made.tables.append(table)
    if report.identification:
        made.rules.append(RULES["ijb_identification"])
        best = report.identification[0]
        made.tiles.append(
            Tile(f"rank-1, {best.variant.name}", *estimate_texts(best.ranks[min(best.ranks)]))
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
