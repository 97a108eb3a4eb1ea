"""Self-attention within the windows of a map, with positions relative to each other.

Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021
(arXiv 2103.14030).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 7
"""Side of a window where the map's side is a multiple of it, as it is at 112 and 224."""


def window_side(side: int) -> int:
    """Return the divisor of a map's `side` that is nearest to `WINDOW` in ratio."""
    divisors = [size for size in range(1, side + 1) if side % size == 0]
    return min(divisors, key=lambda size: abs(math.log(size / WINDOW)))


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut (B, H, W, C) into windows (B n, window^2, C), those of one image side by side."""
    _, height, width, channels = x.shape
    rows, columns = height // window, width // window
    x = x.reshape(-1, rows, window, columns, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def from_windows(windows: Tensor, window: int, side: int) -> Tensor:
    """Put the windows of `to_windows` back into maps (B, side, side, C)."""
    count, channels = side // window, windows.shape[-1]
    x = windows.reshape(-1, count, count, window, window, channels)
    return x.transpose(2, 3).reshape(-1, side, side, channels)


def relative_position_index(window: int) -> Tensor:
    """Return which row of the bias table each pair of places has, (window^2, window^2)."""
    # On the CPU by name: a network built on the meta device needs these numbers all the same.
    steps = torch.arange(window, device="cpu")
    row, column = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    down = row[:, None] - row[None, :] + window - 1
    right = column[:, None] - column[None, :] + window - 1
    return down * (2 * window - 1) + right


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """Return 0 where two places of a window may see each other and -inf elsewhere.

    A map that is rolled by `shift` brings places of opposite edges into one window; only those that
    were neighbours before may see each other.

    Returns:
        (n, window^2, window^2), one matrix for each of a map's n windows.
    """
    places = torch.arange(side, device="cpu")
    strip = (places >= side - window).int() + (places >= side - shift).int()
    region = (3 * strip[:, None] + strip[None, :])[None, :, :, None]
    region = to_windows(region, window).squeeze(2)
    apart = region[:, :, None] != region[:, None, :]
    return torch.zeros(apart.shape, device="cpu").masked_fill(apart, -math.inf)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for each relative position.

    Args:
        channels: C.
        heads: Divides C.
        side: Side of the map.
        window: Side of a window, a divisor of `side`.
        shift: By how many places the map was rolled, 0 for not at all.
    """

    index: Tensor
    mask: Tensor | None

    def __init__(self, channels: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        mask = shift_mask(side, window, shift) if shift else None
        self.register_buffer("index", relative_position_index(window), persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor, prompts: int = 0) -> Tensor:
        """Map windows (B n, window^2 + prompts, C) to the same shape.

        Args:
            x: Windows, those of one image side by side; in each the prompts come last.
            prompts: How many of a window's tokens are prompts, which have no place: no bias and no
                mask concerns them.
        """
        _, length, channels = x.shape
        qkv = self.qkv(x).reshape(-1, length, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        query = query * (channels // self.heads) ** -0.5
        scores = self._add_bias(query @ key.transpose(-2, -1), prompts)
        x = scores.softmax(-1) @ value
        return self.proj(x.transpose(1, 2).reshape(-1, length, channels))

    def _add_bias(self, scores: Tensor, prompts: int) -> Tensor:
        """Add bias and mask to scores (B n, heads, L, L)."""
        bias = self.relative_position_bias_table[self.index].permute(2, 0, 1)
        pad = (0, prompts, 0, prompts)
        if self.mask is None:
            return scores + F.pad(bias, pad)
        bias = F.pad(bias + self.mask.to(bias.dtype)[:, None], pad)
        return (scores.reshape(-1, *bias.shape) + bias).reshape(scores.shape)
