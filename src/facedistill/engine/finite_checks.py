"""Stopping at the first number that is none, before it reaches weights and checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Parts


@dataclass(frozen=True)
class Place:
    """Where training stands, for the message.

    Attributes:
        step: Optimiser steps done.
        epoch: Whole passes over the data.
        lr: Learning rate of the step.
        batch: Its (micro-)batch.
        saved: Step of the checkpoint to go back to; None without one.
    """

    step: int
    epoch: int
    lr: float
    batch: Batch
    saved: int | None = None


def check_loss(loss: torch.Tensor, parts: Parts, objectives: Iterable[str], place: Place) -> None:
    """Refuse a loss that is not finite.

    Raises:
        FacedistillError: Naming the objectives whose terms are not, and the batch.
    """
    if torch.isfinite(loss):
        return
    terms = [name for name in objectives if not _finite(parts.get(name))]
    raise _not_finite(f"loss of {', '.join(terms) or 'the sum'}", place)


def check_gradient(norm: torch.Tensor, objectives: Iterable[str], place: Place) -> None:
    """Refuse a gradient whose norm is not finite.

    Raises:
        FacedistillError: Naming all objectives, and the batch.
    """
    if not torch.isfinite(norm):
        raise _not_finite(f"gradient of the sum of {', '.join(objectives)}", place)


def _not_finite(what: str, place: Place) -> FacedistillError:
    keys = place.batch.keys
    first = keys[0].tobytes().hex() if len(keys) else "none"
    saved = "there is no checkpoint to go back to"
    if place.saved is not None:
        saved = f"the checkpoint of step {place.saved} is from before"
    return FacedistillError(
        f"the {what} is not finite at step {place.step} (epoch {place.epoch}, batch with first key "
        f"{first}): lower optimizer.lr (now {place.lr:.3g}), add warm-up, or check the data; "
        f"{saved}"
    )


def _finite(value: torch.Tensor | None) -> bool:
    return value is None or bool(torch.isfinite(value))
