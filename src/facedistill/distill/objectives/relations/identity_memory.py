"""Feature banks: each identity's latest embedding, kept on the device while training goes on."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

Storage = Literal["fp16", "fp32"]
"""How embeddings are stored; arithmetic is at least float32 always."""

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


def check_storage(storage: str) -> None:
    """Refuse a storage that is not known.

    Raises:
        ValueError: Naming those that are.
    """
    if storage not in DTYPES:
        raise ValueError(f"storage is '{storage}', not one of {', '.join(DTYPES)}")


class FeatureBank(nn.Module):
    """Unit embeddings by identity: E_s or E_t of CoupleFace (Liu et al., ECCV 2022).

    The rows follow the embeddings to their device and are part of `state_dict`. They are no
    buffers on purpose: DistributedDataParallel would send them to every process at every step.

    Args:
        rows: (M, D) unit embeddings to start from, all counted as seen; or the shape (M, D) of a
            bank of which nothing is seen yet.
        storage: `fp16` or `fp32`.

    Attributes:
        rows: (M, D) unit embeddings in the storage's type; unseen ones are 0.
        seen: bool (M,), whether the identity has an embedding.
    """

    def __init__(self, rows: torch.Tensor | tuple[int, int], storage: Storage = "fp16") -> None:
        super().__init__()
        check_storage(storage)
        started = isinstance(rows, torch.Tensor)
        start = rows if isinstance(rows, torch.Tensor) else torch.zeros(rows)
        self.rows = start.detach().to(DTYPES[storage], copy=True)
        self.seen = torch.full((len(start),), started)

    def to_device(self, device: torch.device) -> FeatureBank:
        """Bring the rows to `device`, where they stay."""
        if self.rows.device != device:
            self.rows, self.seen = self.rows.to(device), self.seen.to(device)
        return self

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

    def get_extra_state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows, "seen": self.seen}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: If it is of a bank of another shape or storage.
        """
        for name, ours in self.get_extra_state().items():
            restore(ours, state[name], f"{name} of a feature bank")


def restore(ours: torch.Tensor, theirs: torch.Tensor, name: str) -> None:
    """Copy what a checkpoint kept.

    Raises:
        ValueError: If it is of another shape or storage.
    """
    if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
        raise ValueError(
            f"{name} are {theirs.dtype} {tuple(theirs.shape)}, not {ours.dtype} {tuple(ours.shape)}"
        )
    ours.copy_(theirs)


def last_occurrence(identities: torch.Tensor) -> torch.Tensor:
    """Return int64 (B,): for each place the last place that holds the same identity."""
    ordered, order = identities.sort(stable=True)
    return order[torch.searchsorted(ordered, identities, right=True) - 1]
