"""Learning-rate schedules: pure functions of the share of training done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[int], float]
"""Step -> factor of the base learning rate."""

Kind = Literal["constant", "cosine", "step", "one_cycle"]


def create_schedule(
    kind: Kind,
    total: int,
    *,
    warmup: int = 0,
    final: float = 0.0,
    milestones: tuple[float, ...] = (0.5, 0.75, 0.9),
    gamma: float = 0.1,
    peak: float = 0.3,
) -> Schedule:
    """Return the factor of the learning rate at each step.

    Args:
        kind: `constant`; `cosine` from 1 to `final`; `step` times `gamma` at each milestone;
            `one_cycle` (Smith and Topin 2018) by cosine from 1/25 up to 1 at `peak`, then down
            to `final`.
        total: Steps of the whole run.
        warmup: Steps of linear rise from 0 before the schedule proper; not for `one_cycle`, which
            has its own.
        final: Factor at the end of `cosine` and `one_cycle`, 0 to 1.
        milestones: Shares of `total` at which `step` acts.
        gamma: Factor of each of these.
        peak: Share of training at which `one_cycle` is highest.
    """
    span = max(total - warmup, 1)

    def shape(done: float) -> float:
        if kind == "cosine":
            return final + (1 - final) * _fall(done)
        if kind == "step":
            return gamma ** sum(done >= milestone for milestone in milestones)
        if kind == "one_cycle":
            if done < peak:
                return 1 - (1 - 1 / 25) * _fall(done / peak)
            return final + (1 - final) * _fall((done - peak) / (1 - peak))
        return 1.0

    def factor(step: int) -> float:
        if kind == "one_cycle":
            return shape(min(step / max(total, 1), 1.0))
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return shape(min((step - warmup) / span, 1.0))

    return factor


def _fall(done: float) -> float:
    """Half a cosine from 1 at 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * done))
