"""Tensors that are still in their file: known by shape and type, read when they are wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        shape: Its sizes.
        dtype: Its type.
        read: Returns its values, on the CPU.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def filled(cls, value: float, *shape: int) -> StoredTensor:
        """Return a float32 tensor of one value, which no file holds."""
        return cls(shape, torch.float32, lambda: torch.full(shape, value))


@dataclass(frozen=True)
class OddTensor:
    """A tensor in a file that is not read.

    Attributes:
        kind: What it is: sparse, nested, quantised ...
    """

    kind: str
