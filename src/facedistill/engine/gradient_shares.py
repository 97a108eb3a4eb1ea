"""What a term of the loss weighs: its share of the gradient that trains the student.

With n_i the norm of the gradient of term i's loss by the student's weights, and w_i the factor it
has now, its share is w_i n_i / sum_j w_j n_j over the terms that are on; `weight: auto:0.3` begins
at such a share. A share says how strong a term pulls, not whether it pulls where the others do.

A gradient of each term takes about as long as the backward pass of a step, so shares are measured
rarely, see `steps_between`: they change slowly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from facedistill.engine.weights import gradient_norm

STEPS_PER_TERM = 50
"""Steps for each term between two measurements. A term costs 0.7 of a step (MobileFaceNet 0.25
at 64 x 64, batch of 128, one core), so that training takes 1.4 % longer."""

SUFFIX = ".share"
"""Of the names under which shares are logged."""


def steps_between(terms: int, log_every: int) -> int:
    """Return the steps between two measurements, a multiple of those between two log records.

    Args:
        terms: How many train the student. Of one nothing is to be measured.
        log_every: Steps between records.
    """
    return log_every * max(1, math.ceil(STEPS_PER_TERM * terms / log_every) if terms > 1 else 1)


def is_measured(step: int, steps: int, between: int) -> bool:
    """Whether shares are measured at a step: in the middle of each interval.

    A run that is shorter is measured at its last step.

    Args:
        step: Steps done before it.
        steps: Of the whole run.
        between: What `steps_between` gives.
    """
    middle = between // 2
    return step % between == middle or (steps <= middle and step == steps - 1)


def gradient_shares(
    losses: Mapping[str, torch.Tensor],
    factors: Mapping[str, float],
    parameters: list[nn.Parameter],
) -> dict[str, float]:
    """Return each term's share of the gradient.

    Args:
        losses: Of the terms that are on and train the student, before weighting.
        factors: Their weights now.
        parameters: The student's that train.

    Returns:
        Shares that sum to 1; empty where no term gives a finite gradient.
    """
    if len(losses) == 1:
        return dict.fromkeys(losses, 1.0)
    pulls = {name: factors[name] * gradient_norm(loss, parameters) for name, loss in losses.items()}
    total = sum(pulls.values())
    if not (total > 0 and math.isfinite(total)):
        return {}
    return {name: pull / total for name, pull in pulls.items()}


def last_shares(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the shares that were measured last, by objective; empty where none were.

    Args:
        records: Of a `metrics.jsonl`.
    """
    found: dict[str, float] = {}
    for record in records:
        shares = {
            key.removesuffix(SUFFIX): value for key, value in record.items() if key.endswith(SUFFIX)
        }
        found = shares or found
    return found
