"""Batches of P identities with K images each, for losses that compare within a batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.labels import UNLABELLED
from facedistill.data.loading.loader import Order, Place


@dataclass(frozen=True, kw_only=True)
class IdentityOrder(Order):
    """The order in which identities and their images are seen; a pure function of fields and step.

    In a pass every identity is seen once, P at a time in an order drawn anew, with K of its images;
    those left over when a pass does not divide by P are others each time. An identity with fewer
    than K images shows all of them and some again; one with a single image makes no pair and is
    left out.

    Attributes:
        labels: int64 (N,), identities 0..M-1.
        images: K, at least 2; `batch_size` is P times K.
        accumulate: Micro-batches per step, each of whole identities, as each process has.
    """

    labels: np.ndarray = field(compare=False)
    images: int
    accumulate: int = 1
    _of: list[np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.labels.min() == UNLABELLED:
            raise FacedistillError(
                "data.images_per_person needs labels and the training data has none: remove it or "
                "give labelled data"
            )
        super().__post_init__()
        shares = self.world * self.accumulate
        if self.batch_size % (self.images * shares) or self.identities < 2 * shares:
            among = f" in {shares} micro-batches of whole identities" if shares > 1 else ""
            raise FacedistillError(
                f"training.batch_size {self.batch_size} does not give two identities or more with "
                f"data.images_per_person {self.images} images each{among}: choose a multiple of "
                f"{self.images * shares}, {2 * self.images * shares} or more"
            )
        order = np.argsort(self.labels, kind="stable")
        bounds = np.flatnonzero(np.diff(self.labels[order])) + 1
        by_identity = np.split(order, bounds)
        useful = [samples for samples in by_identity if len(samples) > 1]
        object.__setattr__(self, "_of", useful)
        if len(useful) < self.identities:
            raise FacedistillError(
                f"training.batch_size {self.batch_size} takes {self.identities} identities with "
                f"{self.images} images each, and {len(useful)} have two images or more: lower it"
            )
        alone = len(by_identity) - len(useful)
        if alone:
            warnings.warn(
                f"{alone:,} of {len(by_identity):,} identities have one image only and make no "
                "pair: data.images_per_person leaves them out",
                stacklevel=3,
            )

    @property
    def identities(self) -> int:
        """P, the identities of a whole batch."""
        return self.batch_size // self.images

    def places(self, start: int, stop: int) -> Iterator[list[Place]]:
        """Give this process's share of the batches of steps `start` to `stop`."""
        share = self.identities // self.world
        per_pass = len(self._of) // self.identities
        current, permutation = -1, np.empty(0, np.int64)
        for step in range(start, stop):
            if step // per_pass != current:
                current = step // per_pass
                rng = np.random.default_rng((self.seed, current))
                permutation = rng.permutation(len(self._of))
            first = (step % per_pass) * self.identities + self.rank * share
            chosen = permutation[first : first + share]
            yield [(current, i) for identity in chosen for i in self._draw(int(identity), current)]

    def _draw(self, identity: int, current: int) -> list[int]:
        """K images of an identity: different ones as far as they go."""
        samples = self._of[identity]
        rng = np.random.default_rng((self.seed, current, identity))
        drawn = rng.permutation(samples)[: self.images]
        return [int(i) for i in np.resize(drawn, self.images)]
