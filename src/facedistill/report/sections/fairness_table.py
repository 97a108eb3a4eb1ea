"""Errors by group of identities as a table."""

from __future__ import annotations

from facedistill.evaluation.metrics.roc import far_name
from facedistill.report.table import Column

GROUP_COLUMNS = (
    Column("group"),
    Column("fmr", "FMR", digits=3, percent=True),
    Column("fnmr", "FNMR", digits=3, percent=True),
    Column("genuine", "genuine pairs"),
    Column("impostors", "impostor pairs"),
    Column("left_out", "left out of the summary"),
)
"""Of a table of `evaluation.fairness.GroupRates`."""


def threshold_line(threshold: float, target: float | None) -> str:
    """Return at which threshold groups are compared, and for which rate it was set if it was."""
    setting = "" if target is None else f", FMR {far_name(target)} over all pairs"
    return (
        f"One threshold for all, cosine {threshold:.4f}{setting}. Impostor pairs are within the "
        "group"
    )
