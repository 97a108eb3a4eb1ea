"""How much an objective counts, and when: a number or a share of the gradient, and its schedule."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import distributed, nn

from facedistill.core.errors import FacedistillError

_HALF_FACTORS = (2.0**16, 2.0**8, 1.0)
"""Of losses whose gradients are float16, which ends at 6e-8: the first that does not overflow."""

Shape = Literal["constant", "linear", "cosine"]
"""How a weight goes from its value to `final` times it."""


@dataclass(frozen=True)
class Weight:
    """How much an objective counts, and when.

    Attributes:
        value: Factor of its loss.
        start: Share of training, 0 to 1, before which it is off.
        stop: Share of training from which it is off again.
        warmup: Share of training over which its weight rises in a line, from 0 at `start`.
        shape: How the weight goes on from the end of `warmup` to `stop`: it stays (`constant`), or
            goes to `final` times the value in a line or along half a cosine.
        final: Factor reached at `stop`; not for `constant`.
        share: Share of the gradient, above 0 and below 1, at which it begins: `value` is then
            multiplied by a scale found when it is first on, see `AutoScales`.
    """

    value: float = 1.0
    start: float = 0.0
    stop: float = 1.0
    warmup: float = 0.0
    shape: Shape = "constant"
    final: float = 0.0
    share: float | None = None

    def on(self, done: float) -> bool:
        """Whether the objective takes part when the share `done` of training lies behind."""
        return self.value > 0 and self.start <= done and (done < self.stop or self.stop >= 1)

    def at(self, done: float) -> float:
        """Return the factor when the share `done` of training lies behind."""
        if not self.on(done):
            return 0.0
        if done < self.start + self.warmup:
            return self.value * (done - self.start) / self.warmup
        return self.value * self._shape(done)

    def _shape(self, done: float) -> float:
        if self.shape == "constant":
            return 1.0
        span = self.stop - self.start - self.warmup
        gone = min(1.0, (done - self.start - self.warmup) / span) if span > 0 else 1.0
        fallen = gone if self.shape == "linear" else 0.5 * (1 - math.cos(math.pi * gone))
        return 1 + (self.final - 1) * fallen


class AutoScales(nn.Module):
    """Scales at which terms begin at their stated shares of the gradient.

    With n_i the norm of the gradient of term i's loss by the student's weights, and w_i its weight,
    a term's share is w_i n_i / sum_j w_j n_j over the terms that are on. Of terms that first are on
    at a step, with shares s_i, the weights become w_i = s_i T / n_i, where
    T = sum_fixed w_j n_j / (1 - sum_i s_i) runs over those whose weight is known already, at their
    full values, without warm-up or schedule. They are found once, on one (micro-)batch, and then
    stay: later shares are what training makes of them. The scales are part of the checkpoint.

    Args:
        weights: Of all terms.
        silent: Names of terms that give the student no gradient, of which nothing can be a share.

    Raises:
        FacedistillError: If shares sum to 1 or more, or at the start of one no other term that
            trains the student and has a number for a weight is on.
    """

    def __init__(self, weights: Mapping[str, Weight], silent: Collection[str] = ()) -> None:
        super().__init__()
        self.weights, self.silent = dict(weights), frozenset(silent)
        self.names = [name for name, weight in weights.items() if weight.share is not None]
        self._check()
        self._waiting, self._tried = set(self.names), set[str]()
        self.scales: torch.Tensor
        if self.names:  # A run without shares has nothing to remember.
            self.register_buffer("scales", torch.zeros(len(self.names)))

    def find(self, losses: Mapping[str, torch.Tensor], parameters: Iterable[nn.Parameter]) -> None:
        """Find the scales of terms that are on for the first time; a term without gradient waits.

        Args:
            losses: Of the terms that are on, before weighting.
            parameters: The student's.
        """
        self._waiting = {name for name in self._waiting if not self._known(name)}
        new = [name for name in losses if name in self._waiting]
        if not new:
            return
        self._tried.update(new)
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        norms = {name: gradient_norm(loss, trained) for name, loss in losses.items()}
        known = sum(
            self.weights[name].value * (self.scale(name) if name in self.names else 1.0) * norm
            for name, norm in norms.items()
            if name not in new
        )
        able = [name for name in new if norms[name] > 0 and math.isfinite(norms[name])]
        shares = {name: self.weights[name].share or 0.0 for name in able}
        total = float(known) / (1 - sum(shares.values()))
        if not (total > 0 and math.isfinite(total)):
            return
        for name in able:
            scale = shares[name] * total / (norms[name] * self.weights[name].value)
            self.scales[self.names.index(name)] = scale

    def sought(self, done: float) -> bool:
        """Whether `find` has a scale to find when the share `done` of training lies behind.

        It asks for gradients of several terms then.
        """
        return any(self.weights[n].on(done) and not self._known(n) for n in self._waiting)

    @property
    def late(self) -> list[str]:
        """Terms that have been on and still have no scale: till then they count for nothing."""
        return [name for name in self.names if name in self._tried and not self._known(name)]

    def of(self, name: str) -> torch.Tensor | float:
        """Return the scale of a term's weight: 1 of a number, 0 of a share not yet found."""
        return self.scales[self.names.index(name)] if name in self.names else 1.0

    def scale(self, name: str) -> float:
        """Return `of(name)` as a number."""
        return float(self.of(name))

    def _known(self, name: str) -> bool:
        return self.scale(name) > 0

    def _check(self) -> None:
        total = sum(self.weights[name].share or 0.0 for name in self.names)
        if total >= 1:
            raise FacedistillError(
                f"the automatic weights of {', '.join(self.names)} ask for {total:g} of the "
                "gradient: leave a share to the others"
            )
        fixed = [
            weight
            for name, weight in self.weights.items()
            if weight.share is None and name not in self.silent
        ]
        for name in self.names:
            start = self.weights[name].start
            if not any(weight.on(start) for weight in fixed):
                raise FacedistillError(
                    f"the automatic weight of {name} is a share of the gradient, and when it "
                    "starts no objective that trains the student is on whose weight is a number: "
                    "give one"
                )


def gradient_norm(loss: torch.Tensor, parameters: list[nn.Parameter]) -> float:
    """Return the norm of a loss's gradient over all parameters, of several processes the mean."""
    norm = torch.zeros(())
    for factor in _HALF_FACTORS if _in_half(loss) else (1.0,):
        norm = _own_norm(loss * factor, parameters) / factor
        if torch.isfinite(norm):
            break
    # Without a gradient here too: the other processes may have one, and wait.
    if distributed.is_available() and distributed.is_initialized():
        norm = norm.to(loss.device)
        distributed.all_reduce(norm)
        norm = norm / distributed.get_world_size()
    return float(norm)


def _own_norm(loss: torch.Tensor, parameters: list[nn.Parameter]) -> torch.Tensor:
    gradients: tuple[torch.Tensor | None, ...] = ()
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    had = [gradient.float() for gradient in gradients if gradient is not None]
    return torch.nn.utils.get_total_norm(had) if had else torch.zeros(())


def _in_half(loss: torch.Tensor) -> bool:
    """Whether gradients on the way from this loss to the weights are float16."""
    kind = loss.device.type
    return torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
