"""How long an exported network takes: medians, and ratios of networks that took turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from facedistill.core.estimate import LEVEL, Estimate, Interval


@dataclass(frozen=True)
class Latency:
    """What a network's calls took.

    Attributes:
        seconds: float64 (turns, calls), in the order in which they were made.
    """

    seconds: np.ndarray

    @property
    def milliseconds(self) -> Estimate:
        """Median of all calls, with the interval of the turns' medians."""
        interval = median_interval(1000 * np.median(self.seconds, axis=1))
        return Estimate(1000 * float(np.median(self.seconds)), interval)

    @property
    def p95_milliseconds(self) -> float:
        """What 95 of 100 calls did not exceed."""
        return 1000 * float(np.percentile(self.seconds, 95))

    def ratio(self, reference: Latency) -> Estimate:
        """Return this network's time over another's of the same turns.

        Each turn gives the ratio of both medians; a moment in which the machine was slow meets
        both and cancels. The figure is their median.
        """
        ratios = np.median(self.seconds, axis=1) / np.median(reference.seconds, axis=1)
        return Estimate(float(np.median(ratios)), median_interval(ratios))


def median_interval(values: np.ndarray) -> Interval | None:
    """Return the interval of a median that no assumption on the distribution enters.

    Its ends are the k-th smallest and k-th largest value, with the largest k for which they hold
    the median with a probability of 95 % at least (David and Nagaraja, "Order Statistics", 2003,
    7.1).

    Args:
        values: (N,).

    Returns:
        The interval over turns; None for fewer than 6, whose extremes hold the median less often.
    """
    ordered = np.sort(values)
    below = bdtr(np.arange(len(ordered) + 1), len(ordered), 0.5)  # at most so many of them
    outside = int(np.searchsorted(below, (1 - LEVEL) / 2))
    if not outside:
        return None
    low, high = ordered[outside - 1], ordered[-outside]
    return Interval(float(low), float(high), "turns", len(ordered))
