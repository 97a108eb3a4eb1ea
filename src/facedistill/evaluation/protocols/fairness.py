"""Are the errors shared out evenly among groups of identities?

All groups are judged at one threshold, as a deployed system judges them. A group's false non-match
rate (FNMR) is over its genuine pairs, its false match rate (FMR) over impostor pairs within the
group, which is where most false matches arise (Grother, Ngan, Hanaoka, NISTIR 8280, 2019). How
far the rates lie apart is summarised by

- the worst rate over the best, and over the geometric mean of all (Grother, "Face Recognition
  Vendor Test (FRVT) Part 8: Summarizing Demographic Differentials", NISTIR 8429, draft of 2022);
- the Gini coefficient with its correction for few groups,
  n / (n - 1) sum_ij |x_i - x_j| / (2 n^2 mean(x)), 0 when all are equal and 1 when one group has
  all errors; the mean of that of FMR and that of FNMR is GARBE (Howard et al., "Evaluating proposed
  fairness models for face recognition algorithms", 2022).

The formulas are those of these papers; they were not compared with ISO/IEC 19795-10:2024, the
standard for reporting such differences. Groups with too few pairs are shown and left out of the
summaries, for small numbers alone make rates differ. An FMR of p needs 3 / p pairs: with fewer, no
error at all would be no surprise (the rule of three: Hanley and Lippman-Hand, "If nothing goes
wrong, is everything all right?", 1983).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse, special

from facedistill.core.errors import FacedistillError, naming
from facedistill.core.estimate import LEVEL, Estimate, Interval
from facedistill.data.pairs.group_table import GroupTable, pair_groups
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.metrics.roc import far_name, roc_curve, tar_at_far
from facedistill.evaluation.metrics.similarity import check_scores
from facedistill.evaluation.protocols.fairness_report import (
    Differential,
    FairnessReport,
    GroupRates,
)
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.statistics.bootstrap import bootstrap_weights, percentile_interval

MIN_GENUINE = 100
"""A group with fewer genuine pairs is left out of the summaries."""


def fairness(
    scores: np.ndarray,
    same: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    *,
    attribute: str = "group",
    far: float = 1e-2,
    threshold: float | None = None,
    identities: np.ndarray | None = None,
    min_genuine: int = MIN_GENUINE,
    min_impostors: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> FairnessReport:
    """Return errors by group at one threshold.

    Args:
        scores: (P,) similarities of all pairs.
        same: (P,) bool.
        groups: (P, 2) integers, each side's group as a place in `names`, -1 where not known.
        names: The groups.
        attribute: What groups identities, for the report.
        far: False match rate over all pairs for which the threshold is set.
        threshold: The threshold itself, instead.
        identities: (P, 2) the identities, for intervals over identities; None resamples pairs.
        min_genuine: A group needs as many genuine pairs to be compared.
        min_impostors: And as many impostor pairs; by default 3 / `far`, or 300 with a threshold.
        resamples: Bootstrap resamples, at the threshold found; 0 for no intervals.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If pairs or groups are unusable, or the false match rate cannot be
            measured on these pairs.
    """
    scores, same = check_scores(scores, same)
    groups = check_groups(groups, names, len(scores))
    target = far if threshold is None else None
    if threshold is None:
        point = tar_at_far(roc_curve(scores, same), far)
        if point.threshold is None:
            raise FacedistillError(f"no threshold to compare groups at: {point.reason}")
        threshold = point.threshold
    if min_impostors is None:
        min_impostors = 300 if target is None else math.ceil(round(3 / target, 6))
    within = np.where(groups[:, 0] == groups[:, 1], groups[:, 0], -1)
    wrong = (scores >= threshold) != same
    counts = _counts(np.ones((1, len(scores))), within, same, wrong, len(names))[:, 0]
    resampled = _resampled_counts(
        within, same, wrong, len(names), identities, resamples=resamples, seed=seed
    )
    units = (identities, len(scores))
    rates = [
        _group_rates(name, counts[:, g], resampled[..., g], units, min_genuine, min_impostors)
        for g, name in enumerate(names)
    ]
    kept = [place for place, group in enumerate(rates) if group.left_out is None]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts[2:] / counts[:2]
        spread = resampled[2:] / resampled[:2]
    fnmr = _differential("FNMR", names, kept, shares[0], spread[0], units)
    fmr = _differential("FMR", names, kept, shares[1], spread[1], units)
    unknown = (groups < 0).any(axis=1)
    return FairnessReport(
        attribute=attribute,
        target=target,
        threshold=float(threshold),
        groups=rates,
        fmr=fmr,
        fnmr=fnmr,
        garbe=_garbe(fmr, fnmr, spread[..., kept], units),
        mixed=int(((within < 0) & ~unknown).sum()),
        unknown=int(unknown.sum()),
    )


def compare_groups(
    report: PairReport,
    pairset: PairSet,
    groups: GroupTable,
    *,
    far: float = 1e-2,
    resamples: int = 1000,
    seed: int = 0,
) -> list[FairnessReport]:
    """Return errors by group, one report per attribute of the table.

    Args:
        report: What was measured.
        pairset: On which pairs.
        groups: Groups of their identities or images.
        far: False match rate over all pairs at whose threshold groups are compared.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If the groups cannot be compared on these pairs.
    """
    reports = []
    for attribute in groups.attributes:
        codes, names = pair_groups(pairset, groups, attribute)
        reports.append(
            fairness(
                report.scores,
                report.same,
                codes,
                names,
                attribute=attribute,
                far=far,
                identities=report.identities,
                resamples=resamples,
                seed=seed,
            )
        )
    return reports


def check_comparable(pairset: PairSet, groups: GroupTable, far: float = 1e-2) -> None:
    """Refuse groups that `compare_groups` could not compare, before anything is embedded.

    Raises:
        FacedistillError: Naming the table.
    """
    impostors = int((~pairset.same).sum())
    if impostors * far < 1:
        raise FacedistillError(
            f"{groups.name}: groups are compared at FAR {far_name(far)}, which {impostors:,} "
            f"impostor pairs of {pairset.name} cannot show: leave the table out, or give more pairs"
        )
    for attribute in groups.attributes:
        codes, names = pair_groups(pairset, groups, attribute)
        with naming(f"{groups.name}, {attribute}"):
            check_groups(codes, names, len(codes))


def gini(rates: np.ndarray) -> np.ndarray:
    """Return the Gini coefficient along the last axis, corrected by n / (n - 1).

    Args:
        rates: (..., n), not negative, n at least 2.

    Returns:
        (...) in 0..1, NaN where all rates are 0.
    """
    count = rates.shape[-1]
    ordered = np.sort(rates, axis=-1)
    # Half the sum of absolute differences over all ordered pairs.
    differences = (ordered * (2 * np.arange(count) - count + 1)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return differences / ((count - 1) * ordered.sum(axis=-1))


def check_groups(groups: np.ndarray, names: Sequence[str], pairs: int) -> np.ndarray:
    """Return the groups of `fairness` as an array.

    Raises:
        FacedistillError: If they are not two for each pair, or fewer than two are there to compare.
    """
    groups = np.asarray(groups)
    if groups.shape != (pairs, 2) or not np.issubdtype(groups.dtype, np.integer):
        raise FacedistillError(
            f"groups are {groups.dtype} {groups.shape}: give two integers per pair, ({pairs}, 2)"
        )
    if groups.min() < -1 or groups.max() >= len(names):
        raise FacedistillError(
            f"groups must be -1..{len(names) - 1}, found {groups.min()}..{groups.max()}"
        )
    if len(np.unique(groups[groups >= 0])) < 2:
        raise FacedistillError(
            "fewer than two groups are among these pairs: check that the names in the table of "
            "groups are those of the images or identities"
        )
    return groups


def _counts(
    weights: np.ndarray, within: np.ndarray, same: np.ndarray, wrong: np.ndarray, groups: int
) -> np.ndarray:
    """Return float64 (4, R, G): genuine and impostor pairs, and the wrong ones of each."""
    column = np.where(within < 0, 0, within + groups * (~same))
    tables = []
    for chosen in (within >= 0, (within >= 0) & wrong):
        table = sparse.csr_array(
            (chosen.astype(np.float64), (column, np.arange(len(within)))),
            shape=(2 * groups, len(within)),
        )
        tables.append((table @ weights.T).reshape(2, groups, -1))
    return np.concatenate(tables).transpose(0, 2, 1)


def _resampled_counts(
    within: np.ndarray,
    same: np.ndarray,
    wrong: np.ndarray,
    groups: int,
    identities: np.ndarray | None,
    *,
    resamples: int,
    seed: int,
) -> np.ndarray:
    if not resamples:
        return np.empty((4, 0, groups))
    return np.concatenate(
        [
            _counts(weights, within, same, wrong, groups)
            for weights in bootstrap_weights(same, identities, resamples=resamples, seed=seed)
        ],
        axis=1,
    )


_Units = tuple[np.ndarray | None, int]


def _group_rates(
    name: str,
    counts: np.ndarray,
    resampled: np.ndarray,
    units: _Units,
    min_genuine: int,
    min_impostors: int,
) -> GroupRates:
    genuine, impostors, refused, accepted = (int(count) for count in counts)
    left_out = None
    if genuine < min_genuine:
        left_out = f"{genuine:,} genuine pairs, fewer than {min_genuine:,}"
    elif impostors < min_impostors:
        left_out = f"{impostors:,} impostor pairs within the group, fewer than {min_impostors:,}"
    return GroupRates(
        group=name,
        genuine=genuine,
        impostors=impostors,
        false_non_matches=refused,
        false_matches=accepted,
        fnmr=_rate(refused, genuine, resampled[[2, 0]], units),
        fmr=_rate(accepted, impostors, resampled[[3, 1]], units),
        left_out=left_out,
    )


def _rate(errors: int, pairs: int, resampled: np.ndarray, units: _Units) -> Estimate | None:
    """Return a rate with its interval.

    Where a bootstrap is blind, with no error or nothing else, it is Clopper and Pearson's.
    """
    if not pairs:
        return None
    if not resampled.shape[1]:
        return Estimate(errors / pairs, None)
    if 0 < errors < pairs:
        with np.errstate(invalid="ignore"):
            return Estimate(errors / pairs, _interval(resampled[0] / resampled[1], units))
    tail = (1 - LEVEL) / 2
    low = 0.0 if not errors else float(special.betaincinv(errors, 1, tail))
    high = 1.0 if errors else float(special.betaincinv(1, pairs, 1 - tail))
    return Estimate(errors / pairs, Interval(low, high, "pairs", pairs))


def _interval(resampled: np.ndarray, units: _Units) -> Interval | None:
    """Return the interval of a figure, None where resamples too often leave it undefined."""
    if not len(resampled) or (~np.isfinite(resampled)).mean() > (1 - LEVEL) / 2:
        return None
    return percentile_interval(resampled[np.isfinite(resampled)], *units)


def _differential(
    rate: str,
    names: Sequence[str],
    kept: Sequence[int],
    shares: np.ndarray,
    spread: np.ndarray,
    units: _Units,
) -> Differential:
    if len(kept) < 2:
        return Differential(rate, reason="fewer than two groups have enough pairs")
    shares, spread = shares[kept], spread[:, kept]
    worst, best = int(np.argmax(shares)), int(np.argmin(shares))
    labels = (names[kept[worst]], names[kept[best]])
    if not shares.any():
        return Differential(rate, *labels, reason="no group has an error")
    coefficient = Estimate(float(gini(shares)), _interval(gini(spread), units))
    if not shares.all():
        return Differential(
            rate,
            *labels,
            gini=coefficient,
            reason=f"{labels[1]} has no error, so there is no ratio to it",
        )
    return Differential(
        rate,
        *labels,
        worst_to_best=_ratio(shares, spread, units, lambda rates: rates.min(axis=-1)),
        worst_to_geometric_mean=_ratio(
            shares, spread, units, lambda rates: np.exp(np.log(rates).mean(axis=-1))
        ),
        gini=coefficient,
    )


def _ratio(shares: np.ndarray, spread: np.ndarray, units: _Units, to: Any) -> Estimate:
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled = spread.max(axis=-1) / to(spread)
        return Estimate(float(shares.max() / to(shares)), _interval(resampled, units))


def _garbe(
    fmr: Differential, fnmr: Differential, spread: np.ndarray, units: _Units
) -> Estimate | None:
    if fmr.gini is None or fnmr.gini is None:
        return None
    resampled = (gini(spread[0]) + gini(spread[1])) / 2
    return Estimate((fmr.gini.value + fnmr.gini.value) / 2, _interval(resampled, units))
