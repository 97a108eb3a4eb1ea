"""A margin head whose classes are divided among the processes of a run, and sampled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional as F

from facedistill.distill.objectives.gathering import (
    gathered,
    gathered_for_parts,
    largest_of_processes,
    several_processes,
    sum_of_parts,
)
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.models.heads.margin import MarginHead, create_head, plain_head

_DRAWN_AT_ONCE = 65_536
"""Rows of the first weights that are drawn together: the same whatever the processes hold."""


class ShardedHead(nn.Module):
    """Cross-entropy on a margin head of which each process holds an equal part of the classes.

    Every process compares the images of all with its own classes; what crosses processes are
    embeddings, and three numbers an image. Loss and gradients are those of the whole head. Centres
    of other processes are never sent but for files, so that DistributedDataParallel must leave
    `head.weight` alone.

    With a sample rate below 1 the softmax of a training step has, in each process, the classes of
    the batch and others drawn anew, together the given share of its classes (PartialFC: An et al.,
    "Killing Two Birds with One Stone", CVPR 2022, arXiv 2203.15565). The gradient of `head.weight`
    is then sparse, of the drawn rows alone. What is drawn follows from a seed and the number of
    draws so far, which checkpoints keep.

    Args:
        name: A name of `facedistill.models.heads.margin.HEADS`.
        embedding_size: D.
        classes: M, of all processes together.
        sample_rate: Share of the classes in a step's softmax, above 0 to 1.
        **options: The head's own.

    Attributes:
        head: The margin head of this process's classes.
        classes: M.
        shard: Which classes these are.

    Raises:
        ValueError: If there are fewer classes than processes, or the rate is out of range.
    """

    def __init__(
        self,
        name: str,
        embedding_size: int,
        classes: int,
        *,
        sample_rate: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__()
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate is {sample_rate}, it must be above 0 and at most 1")
        rank, processes = 0, 1
        if several_processes():
            rank, processes = distributed.get_rank(), distributed.get_world_size()
        if classes < processes:
            raise ValueError(
                f"{classes} identities cannot be divided among {processes} processes: set sharded "
                "to false"
            )
        self.classes, self.sample_rate = classes, sample_rate
        self.shard = range(classes * rank // processes, classes * (rank + 1) // processes)
        with torch.random.fork_rng(devices=[]):
            self.head = create_head(name, embedding_size, len(self.shard), **options)
        self._draw_weight()
        self.seed = int(torch.randint(1 << 62, ())) if sample_rate < 1 else 0
        self.draws = 0
        self._whole: torch.Tensor | None = None

    @property
    def scale(self) -> float:
        """What the logits multiply cosines by."""
        return self.head.scale

    def forward(
        self, embedding: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean loss of the images of all processes, and the share classified right.

        Args:
            embedding: (B, D) of this process's images, not normalised.
            labels: int64 (B,), 0..M-1.
            label_smoothing: Share of the target spread over all classes of the softmax.
        """
        self.head.check(embedding, labels, self.classes)
        embedding = gathered_for_parts(at_least_float32(embedding))
        (labels,) = gathered(labels)
        own, centres = self._own_columns(labels), None
        if self.training and self.sample_rate < 1:
            chosen = self._sample(own[own >= 0])
            own = torch.where(own >= 0, torch.searchsorted(chosen, own), -1)
            centres = F.embedding(self._rows(chosen), self.head.weight, sparse=True)
        logits = self.head.hardened(self.head.cosine(embedding, centres), embedding, own)
        top = largest_of_processes(logits.detach().amax(1))
        target = torch.where(own >= 0, logits.gather(1, own.clamp_min(0)[:, None])[:, 0], 0.0)
        sums = [(logits - top[:, None]).exp().sum(1), target]
        if label_smoothing:
            sums += [logits.sum(1), torch.full_like(target, logits.shape[1])]
        mass, target, *spread = sum_of_parts(torch.stack(sums))
        loss = (top + mass.log() - target).mean()
        if spread:
            loss = loss + label_smoothing * (target - spread[0] / spread[1]).mean()
        return loss, (target >= top).float().mean()

    def share_of(self, whole: torch.Tensor) -> torch.Tensor:
        """Return a copy of this process's rows of the whole (M K, ...).

        Raises:
            ValueError: If it has another number of rows.
        """
        centres = self.head.sub_centres
        if len(whole) != self.classes * centres:
            raise ValueError(f"a class head has {self.classes * centres} rows, not {len(whole)}")
        return whole[self.shard.start * centres : self.shard.stop * centres].clone()

    @torch.no_grad()
    def together(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows of all processes' classes: on the CPU of the first, nothing elsewhere.

        Every process must call it alike.

        Args:
            rows: (m K, ...) of this process's m classes.
        """
        if not several_processes():
            return rows
        if distributed.get_rank():
            distributed.send(rows.detach().contiguous(), dst=0)
            return rows.new_empty(0, *rows.shape[1:])
        processes = distributed.get_world_size()
        parts = [rows.cpu()]
        for rank in range(1, processes):
            stop = self.classes * (rank + 1) // processes
            count = (stop - self.classes * rank // processes) * self.head.sub_centres
            part = rows.new_empty(count, *rows.shape[1:])
            distributed.recv(part, src=rank)
            parts.append(part.cpu())
        return torch.cat(parts)

    @contextmanager
    def held_whole(self) -> Iterator[None]:
        """Let `whole` give the head of all classes in the first process; all must enter alike."""
        self._whole = self.together(self.head.weight.detach())
        try:
            yield
        finally:
            self._whole = None

    def whole(self) -> MarginHead:
        """Return the head of all classes, without margin, within `held_whole`.

        Raises:
            RuntimeError: If it is not held.
        """
        if self._whole is None:
            raise RuntimeError("the classes of all processes are not together: see held_whole")
        return plain_head(self._whole, self.head.sub_centres, self.scale)

    def get_extra_state(self) -> dict[str, int]:
        """Return what a checkpoint keeps of the drawing."""
        return {"seed": self.seed, "draws": self.draws}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Go on drawing where a checkpoint stopped."""
        self.seed, self.draws = int(state["seed"]), int(state["draws"])

    def _own_columns(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the place of each label among this process's classes, -1 of those elsewhere."""
        here = (labels >= self.shard.start) & (labels < self.shard.stop)
        return torch.where(here, labels - self.shard.start, -1)

    @torch.no_grad()
    def _sample(self, positives: torch.Tensor) -> torch.Tensor:
        """Return places of this process's classes to compare with, ascending: positives always."""
        entropy = np.random.SeedSequence([self.seed, self.draws, self.shard.start])
        seed = int(entropy.generate_state(1, np.uint64)[0] >> 1)
        self.draws += 1
        device = positives.device
        drawn = torch.rand(
            len(self.shard), device=device, generator=torch.Generator(device).manual_seed(seed)
        )
        drawn[positives] = 2.0
        count = max(math.ceil(self.sample_rate * len(self.shard)), int((drawn == 2.0).sum()))
        return drawn.topk(count, sorted=False).indices.sort().values

    def _rows(self, classes: torch.Tensor) -> torch.Tensor:
        """Return the rows of the centres of classes."""
        each = torch.arange(self.head.sub_centres, device=classes.device)
        return (classes[:, None] * len(each) + each).flatten()

    @torch.no_grad()
    def _draw_weight(self) -> None:
        """Draw what the whole head would have drawn, and keep the own rows."""
        weight, centres = self.head.weight, self.head.sub_centres
        first, last = self.shard.start * centres, self.shard.stop * centres
        for start in range(0, self.classes * centres, _DRAWN_AT_ONCE):
            count = min(_DRAWN_AT_ONCE, self.classes * centres - start)
            drawn = weight.new_empty(count, weight.shape[1]).normal_(std=0.01)
            low, high = max(start, first), min(start + count, last)
            if low < high:
                weight[low - first : high - first] = drawn[low - start : high - start]


def margin_head(
    name: str, embedding_size: int, classes: int, sharded: bool, sample_rate: float, **options: Any
) -> MarginHead | ShardedHead:
    """Build the head that an objective's options ask for.

    Args:
        name: A name of `facedistill.models.heads.margin.HEADS`.
        embedding_size: D.
        classes: M.
        sharded: Whether the classes are divided among the processes.
        sample_rate: See `ShardedHead`.
        **options: The head's own.

    Raises:
        ValueError: If a head that is not sharded is to be sampled.
    """
    if sharded:
        return ShardedHead(name, embedding_size, classes, sample_rate=sample_rate, **options)
    if sample_rate != 1:
        raise ValueError(f"sample_rate is {sample_rate}, and below 1 it needs sharded: true")
    return create_head(name, embedding_size, classes, **options)
