"""Errors by group as figures: each group's rates, and how far they lie apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from facedistill.core.estimate import Estimate
from facedistill.evaluation.metrics.roc import far_name


@dataclass(frozen=True)
class GroupRates:
    """One group's errors at the threshold.

    Attributes:
        group: Its name.
        genuine: Genuine pairs of its identities.
        impostors: Impostor pairs within the group.
        false_non_matches: Genuine pairs refused.
        false_matches: Impostor pairs accepted.
        fnmr: Share of genuine pairs refused; None without such pairs.
        fmr: Share of impostor pairs accepted; None without such pairs.
        left_out: Why the summaries are without this group, else None.
    """

    group: str
    genuine: int
    impostors: int
    false_non_matches: int
    false_matches: int
    fnmr: Estimate | None
    fmr: Estimate | None
    left_out: str | None


@dataclass(frozen=True)
class Differential:
    """How far the groups' rates lie apart; figures are None where undefined; `reason` states why.

    Attributes:
        rate: `FMR` or `FNMR`.
        worst: Group with the highest rate.
        best: Group with the lowest.
        worst_to_best: Their rates' ratio.
        worst_to_geometric_mean: Highest rate over the geometric mean of all.
        gini: Gini coefficient, 0 to 1.
        reason: Why a figure is undefined, else None.
    """

    rate: str
    worst: str | None = None
    best: str | None = None
    worst_to_best: Estimate | None = None
    worst_to_geometric_mean: Estimate | None = None
    gini: Estimate | None = None
    reason: str | None = None


@dataclass(frozen=True)
class FairnessReport:
    """Errors by group.

    Attributes:
        attribute: What groups identities, say `sex`.
        target: The false match rate over all pairs for which the threshold was set; None where the
            threshold was given.
        threshold: Accept when the score is at least this, whatever the group.
        groups: The groups by name.
        fmr: How the false match rates differ.
        fnmr: How the false non-match rates differ.
        garbe: Mean of both Gini coefficients; None if one is undefined.
        mixed: Pairs of two groups; only false matches over all pairs know them.
        unknown: Pairs with an identity whose group is not known.
    """

    attribute: str
    target: float | None
    threshold: float
    groups: list[GroupRates]
    fmr: Differential
    fnmr: Differential
    garbe: Estimate | None
    mixed: int
    unknown: int

    def line(self) -> str:
        """Return the summary as one line of text."""
        setting = "" if self.target is None else f" (FMR {far_name(self.target)} over all pairs)"
        parts = [_summary(self.fmr), _summary(self.fnmr)]
        if self.garbe is not None:
            parts.append(f"GARBE {self.garbe.text(2)}")
        out = [f"{group.group}: {group.left_out}" for group in self.groups if group.left_out]
        if out:
            parts.append(f"left out {'; '.join(out)}")
        return f"{self.attribute} at cosine {self.threshold:.4f}{setting}: " + ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return asdict(self)


def _summary(differential: Differential) -> str:
    if differential.worst_to_best is None:
        return f"{differential.rate}: {differential.reason}"
    ratio = differential.worst_to_best.text(2)
    return (
        f"{differential.rate} of {differential.worst} is {ratio} times that of {differential.best}"
    )
