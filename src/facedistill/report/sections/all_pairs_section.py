"""The section of the protocol that compares every image with every other one."""

from __future__ import annotations

import numpy as np

from facedistill.data.dataset import FaceDataset
from facedistill.evaluation.metrics.roc import far_name
from facedistill.evaluation.perturbations.masked import put_on_mask
from facedistill.evaluation.protocols.all_pairs_report import AllPairsReport
from facedistill.evaluation.protocols.protocol_versions import RULES
from facedistill.report.sections.face_gallery import NO_IMAGES, PAIRS_SHOWN, face_gallery
from facedistill.report.sections.rate_parts import (
    curve_drawings,
    mask_rules,
    operating_points,
    percent,
    score_drawing,
    tar_tiles,
)
from facedistill.report.sections.section import Section, Tile


def all_pairs_section(report: AllPairsReport, faces: FaceDataset | None) -> Section:
    """Return the section of a report of all pairs; without `faces` it shows no images."""
    compared = report.comparison
    curves = {report.title: compared.curve}
    made = Section(
        title=report.title,
        line=report.line(),
        rules=[RULES["all_pairs"], RULES["tar_at_far"], *mask_rules(report.masked)],
        data=None if faces is None else faces.fingerprint,
        tiles=[
            *tar_tiles(report.points, report.intervals),
            Tile("equal error rate", percent(report.eer)),
            Tile("area under ROC", f"{report.auc:.6f}"),
        ],
        tables=[operating_points(report.points, report.intervals)],
        drawings=[
            *curve_drawings(curves, report.points, report.intervals),
            score_drawing(compared.counts, report.points),
        ],
        remarks=[
            f"{report.counts()}: {report.genuine:,} genuine and {report.impostors:,} impostor "
            "pairs. Intervals are over identities, at the threshold found."
        ],
        curves=curves,
    )
    if report.folds is not None:
        made.remarks.append(
            f"The {report.folds} folds share no identity by the protocol: any two images of two "
            "folds are an impostor pair. Genuine pairs follow from the listed ones."
        )
    if report.masked is not None:
        made.remarks.append(f"Masks are drawn by seed {report.mask_seed}.")
    measured = [point for point in report.points if point.threshold is not None]
    if faces is None or not measured:
        if faces is None:
            made.remarks.append(NO_IMAGES)
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
        made.galleries.append(
            face_gallery(same, shown, names, threshold, decided, wrong, left, right)
        )
    return made
