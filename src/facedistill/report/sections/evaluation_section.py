"""The section of one evaluation: its protocol's own, and what was asked for besides."""

from __future__ import annotations

from typing import Any

from facedistill.data.formats.procedural import PREFIX
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.evaluate import Evaluation
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
from facedistill.evaluation.protocols.all_pairs_report import AllPairsReport
from facedistill.evaluation.protocols.base import Protocol
from facedistill.evaluation.protocols.distractors import DistractorReport
from facedistill.evaluation.protocols.ijb_report import IjbReport
from facedistill.evaluation.protocols.landmark_report import LandmarkReport
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.protocols.protocol_versions import RULES
from facedistill.report.sections.all_pairs_section import all_pairs_section
from facedistill.report.sections.distractor_section import distractor_section
from facedistill.report.sections.fairness_section import add_fairness
from facedistill.report.sections.ijb_section import ijb_section
from facedistill.report.sections.landmark_section import landmark_section
from facedistill.report.sections.pair_section import pair_section
from facedistill.report.sections.robustness_section import add_robustness
from facedistill.report.sections.section import Section, Table
from facedistill.report.table import Column


def evaluation_section(
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
        pairs = protocol.pairset if isinstance(protocol, PairProtocol) else None
        named = pairs if isinstance(pairs, PairSet) else None
        made = pair_section(report, named, mask_seed)
    elif isinstance(report, AllPairsReport):
        faces = protocol.faces if isinstance(protocol, AllPairsProtocol) else None
        made = all_pairs_section(report, faces)
    elif isinstance(report, IjbReport):
        made = ijb_section(report)
    elif isinstance(report, LandmarkReport):
        made = landmark_section(report)
    elif isinstance(report, DistractorReport):
        made = distractor_section(report)
    else:
        made = Section(title=report.title, line=report.line(), rules=[])
    if report.health is not None:
        made.remarks.extend([f"{report.health.line()}.", *report.health.problems()])
    if evaluation.overlap is not None:
        made.remarks.insert(0, f"{evaluation.overlap.line()}.")
    if evaluation.difference is not None:
        made.tables.append(_difference(evaluation.difference))
    if evaluation.robustness is not None:
        made.rules.append(RULES["robustness"])
        add_robustness(made, evaluation.robustness)
    for groups in evaluation.fairness:
        if RULES["fairness"] not in made.rules:
            made.rules.append(RULES["fairness"])
        add_fairness(made, groups)
    if report.name.startswith(PREFIX):
        made.rules.append(RULES["procedural"])
    return made


def _difference(difference: Any) -> Table:
    rows = [
        {
            "figure": name,
            "difference": compared.estimate,
            "p": compared.p_text.removeprefix("= "),
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
