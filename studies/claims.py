"""What follows from the figures of a study: one arm less another, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.statistics.seed_differences import seed_difference
from studies.study import Study

Figures = Mapping[str, float]
"""A network's measures, in per cent."""
Runs = Mapping[str, Mapping[str, Figures]]
"""Figures by arm and seed."""
Claim = dict[str, Any]


def complete_seeds(study: Study, runs: Runs) -> list[str]:
    """Return the seeds that all arms have, in order."""
    shared = set.intersection(*(set(runs.get(arm, {})) for arm in study.arms))
    return sorted(shared, key=int)


def claims(study: Study, runs: Runs) -> list[Claim]:
    """Return every contrast on every measure, the primary measure first.

    Seeds count that have all arms.

    Returns:
        `name`, `measure`, `difference` with its interval `low` to `high` in percentage points
        (Student's t over the `seeds`), and `least_difference_told`, the least that so many seeds
        tell with 80 % power; None of one seed.
    """
    seeds = complete_seeds(study, runs)
    if not seeds:
        return []
    measures = runs[next(iter(study.arms))][seeds[0]]
    order = sorted(measures, key=lambda measure: (measure != study.primary, measure))
    return [_claim(runs, seeds, *arms, measure) for measure in order for arms in study.contrasts]


def _claim(runs: Runs, seeds: list[str], one: str, other: str, measure: str) -> Claim:
    first, second = ({int(s): runs[arm][s][measure] for s in seeds} for arm in (one, other))
    found = seed_difference(first, second)
    assert found is not None, "every arm has these seeds"
    interval = found.estimate.interval
    return {
        "name": f"{one} - {other}",
        "measure": measure,
        "difference": found.estimate.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "seeds": len(seeds),
        "least_difference_told": found.least,
    }


def estimate_of(claim: Claim) -> Estimate:
    """Return a claim's difference and interval, in percentage points."""
    if claim["low"] is None:
        return Estimate(claim["difference"])
    interval = Interval(claim["low"], claim["high"], "seeds", claim["seeds"])
    return Estimate(claim["difference"], interval)


def claim_text(claim: Claim) -> str:
    """Return a claim in a line, say `+1.20 (+0.30 to +2.10)`."""
    return estimate_of(claim).text(2, signed=True)
