"""Two rows of a table paired by seed: their difference, and how small a one could have been found.

Runs of one seed share the start of their weights and the order of their images, so that their
difference varies less than they do. The interval is Student's; beside it stands the power: a
difference that is not beyond its interval is no sign of equality unless the seeds were enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import optimize, special

from facedistill.core.estimate import LEVEL, Estimate
from facedistill.evaluation.statistics.bootstrap import mean_interval

POWER = 0.8
"""Chance with which `SeedDifference.least` is found."""


@dataclass(frozen=True)
class SeedDifference:
    """A figure of one row less that of another, over the seeds that both have.

    Attributes:
        estimate: Mean of the differences and its 95 % Student-t interval; one seed has none.
        least: The smallest true difference whose interval would leave 0 out with 80 % chance; None
            of one seed.
    """

    estimate: Estimate
    least: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return {**asdict(self.estimate), "least_difference": self.least}


def seed_difference(
    first: Mapping[int, float], second: Mapping[int, float]
) -> SeedDifference | None:
    """Compare two rows by one figure, paired by seed.

    Args:
        first: The figure by seed.
        second: The same of the other row.

    Returns:
        The difference; None where no seed has a finite figure in both.
    """
    gains = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if not gains or not np.isfinite(gains).all():
        return None
    least = least_difference(float(np.std(gains, ddof=1)), len(gains)) if len(gains) > 1 else None
    return SeedDifference(mean_interval(gains), least)


def least_difference(deviation: float, seeds: int) -> float:
    """Return the smallest mean difference that a two-sided t test finds with 80 % chance.

    Args:
        deviation: Standard deviation of the paired differences.
        seeds: Their number, at least 2.
    """
    freedom = seeds - 1
    critical = special.stdtrit(freedom, (1 + LEVEL) / 2)

    def missing(shift: float) -> float:
        return float(POWER - (1 - special.nctdtr(freedom, shift, critical)))

    # In standard errors; far above the critical value the chance is 1.
    shift = optimize.brentq(missing, 0.1, 2 * critical + 2)
    return float(shift * deviation / np.sqrt(seeds))
