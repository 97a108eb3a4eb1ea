"""Memories: embeddings of earlier steps, kept on the device while training goes on.

Their rows follow the embeddings to the device and are part of `state_dict`. They are no buffers on
purpose: DistributedDataParallel would send them to every process at every step.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from torch import nn

Storage = Literal["fp16", "fp32"]
"""How embeddings are stored; arithmetic is at least float32 always."""

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class EmbeddingMemory(nn.Module):
    """Rows of embeddings that a run remembers: what both kinds of memory have in common.

    Args:
        storage: `fp16` or `fp32`.

    Raises:
        ValueError: If the storage is unknown.
    """

    kept: tuple[str, ...]
    """Names of the tensors that are remembered."""
    kind: str
    """What to call it in messages."""

    def __init__(self, storage: Storage = "fp16") -> None:
        super().__init__()
        if storage not in DTYPES:
            raise ValueError(f"storage is '{storage}', not one of {', '.join(DTYPES)}")
        self.dtype = DTYPES[storage]

    def to_device(self, device: torch.device) -> Self:
        """Bring the rows to `device`, where they stay."""
        for name in self.kept:
            tensor = getattr(self, name)
            if tensor.device != device:
                setattr(self, name, tensor.to(device))
        return self

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {name: getattr(self, name) for name in self.kept}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: If it is of a memory of another shape or storage.
        """
        for name in self.kept:
            current, stored = getattr(self, name), state[name]
            if stored.shape != current.shape or stored.dtype != current.dtype:
                raise ValueError(
                    f"{name} of {self.kind} are {stored.dtype} {tuple(stored.shape)}, "
                    f"not {current.dtype} {tuple(current.shape)}"
                )
            current.copy_(stored)


class IdentityMemory(EmbeddingMemory):
    """Unit embeddings by identity: E_s or E_t of CoupleFace (Liu et al., ECCV 2022).

    Args:
        rows: (M, D) unit embeddings to start from, all counted as seen; or the shape (M, D) of a
            memory of which nothing is seen yet.
        storage: `fp16` or `fp32`.

    Attributes:
        rows: (M, D) unit embeddings in the storage's type; unseen ones are 0.
        seen: bool (M,), whether the identity has an embedding.
    """

    kept, kind = ("rows", "seen"), "an identity memory"

    def __init__(self, rows: torch.Tensor | tuple[int, int], storage: Storage = "fp16") -> None:
        super().__init__(storage)
        started = isinstance(rows, torch.Tensor)
        start = rows if isinstance(rows, torch.Tensor) else torch.zeros(rows)
        self.rows = start.detach().to(self.dtype, copy=True)
        self.seen = torch.full((len(start),), started)

    @torch.no_grad()
    def record(self, identities: torch.Tensor, embeddings: torch.Tensor) -> None:
        """Overwrite the rows of `identities`; of an identity that is there twice the last wins.

        Args:
            identities: int64 (B,), 0..M-1.
            embeddings: (B, D) of unit length.
        """
        self.to_device(embeddings.device)
        # Every occurrence of an identity writes the same row, the last one's, so that parallel
        # writes cannot race.
        last = last_occurrence(identities)
        self.rows[identities] = embeddings[last].to(self.rows.dtype)
        self.seen[identities] = True


class EmbeddingQueue(EmbeddingMemory):
    """The latest embeddings of both networks, of the same images in the same rows.

    Args:
        size: Most images Q that are kept.
        dimensions: Of the student's and the teacher's embedding.
        storage: `fp16` or `fp32`.

    Attributes:
        students: (Q, D) unit embeddings.
        teachers: (Q, E) unit embeddings.
        filled: Number of rows that hold an image: the first ones.
        place: Row that the next image goes to.
    """

    kept, kind = ("students", "teachers"), "a queue"

    def __init__(self, size: int, dimensions: tuple[int, int], storage: Storage = "fp16") -> None:
        super().__init__(storage)
        if size < 1:
            raise ValueError(f"queue is {size}, it must be 1 or more")
        self.students, self.teachers = (torch.zeros(size, d, dtype=self.dtype) for d in dimensions)
        self.filled = self.place = 0

    @torch.no_grad()
    def push(self, students: torch.Tensor, teachers: torch.Tensor) -> None:
        """Add images, the oldest giving way; of more than Q the last Q stay.

        Args:
            students: (B, D) of unit length.
            teachers: (B, E) of unit length.
        """
        self.to_device(students.device)
        size = len(self.students)
        count = min(len(students), size)
        rows = (torch.arange(count, device=students.device) + self.place) % size
        self.students[rows] = students[len(students) - count :].to(self.dtype)
        self.teachers[rows] = teachers[len(teachers) - count :].to(self.dtype)
        self.place = (self.place + count) % size
        self.filled = min(size, self.filled + count)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {**super().get_extra_state(), "filled": self.filled, "place": self.place}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: If it is of a queue of another shape or storage.
        """
        super().set_extra_state(state)
        self.filled, self.place = int(state["filled"]), int(state["place"])


def last_occurrence(identities: torch.Tensor) -> torch.Tensor:
    """Return int64 (B,): for each place the last place that holds the same identity."""
    ordered, order = identities.sort(stable=True)
    return order[torch.searchsorted(ordered, identities, right=True) - 1]
