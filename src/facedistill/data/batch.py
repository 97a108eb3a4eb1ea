"""A batch of samples on its way from the loader to the networks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
import torch

_TENSORS = ("images", "labels", "flipped", "clean", "landmarks")


@dataclass
class Batch:
    """What the loader gives; every network converts the raw images for itself.

    Attributes:
        images: uint8 RGB (B, H, W, 3), augmented; what the student sees.
        labels: int64 (B,).
        flipped: bool (B,): the image was mirrored by augmentation.
        keys: uint8 (B, 16) on the host: the rows to ask of a bank.
        clean: uint8 RGB (B, H, W, 3) before augmentation, kept only for an online teacher that
            is to see the clean view; else None.
        landmarks: float32 (B, P, 2), fractions of the sides of `images` (see `faces.landmarks`);
            None where the data set has none.
        skipped: Places of corrupt samples left out of this batch.
    """

    images: torch.Tensor
    labels: torch.Tensor
    flipped: torch.Tensor
    keys: np.ndarray
    clean: torch.Tensor | None = None
    landmarks: torch.Tensor | None = None
    skipped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        """Leave a process as arrays, whose memory is handed over as it is; tensors are copied."""
        return {
            name: value.numpy() if isinstance(value, torch.Tensor) else value
            for name, value in self.__dict__.items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(
            {
                name: torch.from_numpy(value) if name in _TENSORS and value is not None else value
                for name, value in state.items()
            }
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its tensors on `device`; the keys stay on the host."""
        moved: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, torch.Tensor):
                value = value.to(device, non_blocking=True)
            moved[item.name] = value
        return Batch(**moved)

    def most_parts(self, parts: int) -> int:
        """Return into how many micro-batches `split` would cut the batch."""
        return max(1, min(parts, len(self) // 2))

    def split(self, parts: int) -> list[Batch]:
        """Cut the batch into `parts` nearly equal micro-batches for gradient accumulation.

        Each micro-batch keeps two samples or more, which batch normalisation needs, so fewer than
        `parts` come back when skipped samples left the batch smaller than that.
        """
        parts = self.most_parts(parts)
        bounds = np.linspace(0, len(self), parts + 1).astype(int)
        return [
            Batch(
                images=self.images[a:b],
                labels=self.labels[a:b],
                flipped=self.flipped[a:b],
                keys=self.keys[a:b],
                clean=None if self.clean is None else self.clean[a:b],
                landmarks=None if self.landmarks is None else self.landmarks[a:b],
            )
            for a, b in pairwise(bounds)
        ]
