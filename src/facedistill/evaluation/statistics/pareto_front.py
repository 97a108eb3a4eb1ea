"""Which networks are worth their price: those that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facedistill.core.estimate import Estimate


@dataclass(frozen=True)
class ParetoPoint:
    """One network.

    Attributes:
        name: What to call it.
        cost: What it costs: milliseconds, bytes.
        figure: How good it is.
    """

    name: str
    cost: float
    figure: Estimate


@dataclass(frozen=True)
class ParetoPanel:
    """Networks by one cost and one figure.

    Attributes:
        cost: What the cost is.
        figure: What the figure is.
        points: The networks.
        less_is_better: Whether the figure is an error.
    """

    cost: str
    figure: str
    points: Sequence[ParetoPoint]
    less_is_better: bool = False

    def front(self) -> np.ndarray:
        """Return which points no other beats, bool (N,)."""
        sign = -1 if self.less_is_better else 1
        return pareto_front(
            np.array([point.cost for point in self.points]),
            sign * np.array([point.figure.value for point in self.points]),
        )


def pareto_front(costs: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return which points no other beats.

    A point is beaten by one that costs no more and gains no less, and is better in one of the two.
    Of points alike in both, all are on the front. What is not finite is on no front and beats none.

    Args:
        costs: (N,), less is better.
        gains: (N,), more is better.

    Returns:
        bool (N,).
    """
    costs, gains = np.asarray(costs, np.float64), np.asarray(gains, np.float64)
    no_worse = (costs[:, None] <= costs) & (gains[:, None] >= gains)
    better = (costs[:, None] < costs) | (gains[:, None] > gains)
    beaten = (no_worse & better).any(axis=0)
    return ~beaten & np.isfinite(costs) & np.isfinite(gains)
