"""Swin Transformers for aligned faces: attention in windows that shift from block to block.

Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021
(arXiv 2103.14030). Sizes are chosen for faces: at 112 x 112 the last map is 7 x 7 with patches of 2
as with patches of 4, and a learned weight per place and channel (MobileFaceNet's global depthwise
convolution) takes the mean's place before the embedding, since places mean something on an aligned
face. The other parameters are named as in Microsoft's checkpoints.

A block may be given prompts, tokens that belong to no place: see `SwinBlock`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from facedistill.models.backbones.base import (
    DropPath,
    DropPathRate,
    EmbeddingSize,
    InputSize,
    TokenBackbone,
    initialise_linear,
)
from facedistill.models.backbones.window_attention import (
    WINDOW,
    WindowAttention,
    from_windows,
    to_windows,
    window_side,
)
from facedistill.models.registry import register

Patch = Literal[2, 4]
"""Side in pixels of the patches that become the first tokens."""


def stage_sides(side: int, stages: int) -> list[int]:
    """Return the map's side in each stage: halved while it is even and above `WINDOW`."""
    sides = [side]
    while len(sides) < stages:
        last = sides[-1]
        sides.append(last // 2 if last > WINDOW and last % 2 == 0 else last)
    return sides


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Attention in windows and a two-layer perceptron, each after a layer norm and with a shortcut.

    Prompts join every window as further keys and queries. After the attention each prompt is the
    mean of its copies over the image's windows (Zhao et al., ACM MM 2023, "adaptable prompting
    teacher").

    Args:
        channels: C.
        heads: Divides C.
        side: Side of the map.
        shifted: Whether the windows are shifted by half their side.
        drop_path: Probability of leaving a branch out in training.
    """

    def __init__(
        self, channels: int, heads: int, side: int, shifted: bool, drop_path: float
    ) -> None:
        super().__init__()
        self.side = side
        self.window = window_side(side)
        self.shift = self.window // 2 if shifted and self.window < side else 0
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, side, self.window, self.shift)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, prompts: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Map (B, H, W, C), and prompts (B, t, C) if given, to the same shapes."""
        if prompts is None:
            x = x + self.drop_path(self._attend(self.norm1(x)))
            return x + self.drop_path(self.mlp(self.norm2(x))), None
        y, p = self._attend_with(self.norm1(x), self.norm1(prompts))
        x, prompts = x + self.drop_path(y), prompts + self.drop_path(p)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x, prompts + self.drop_path(self.mlp(self.norm2(prompts)))

    def _attend(self, x: Tensor) -> Tensor:
        return self._unroll(from_windows(self.attn(self._windows(x)), self.window, self.side))

    def _attend_with(self, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        windows = self._windows(x)
        places, count = self.window**2, prompts.shape[1]
        each = (self.side // self.window) ** 2
        # Batch-major, as the windows are: image 0's copies first, or images would mix.
        copies = prompts.repeat_interleave(each, dim=0)
        windows = self.attn(torch.cat([windows, copies], dim=1), count)
        x = self._unroll(from_windows(windows[:, :places], self.window, self.side))
        return x, windows[:, places:].unflatten(0, (-1, each)).mean(1)

    def _windows(self, x: Tensor) -> Tensor:
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        return to_windows(x, self.window)

    def _unroll(self, x: Tensor) -> Tensor:
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


class PatchMerging(nn.Module):
    """Join neighbouring places and widen.

    Args:
        inputs: C.
        outputs: C'.
        fold: 2 joins squares of four places; 1 joins nothing.
    """

    def __init__(self, inputs: int, outputs: int, fold: int) -> None:
        super().__init__()
        self.fold = fold
        self.reduction = nn.Linear(fold * fold * inputs, outputs, bias=False)
        self.norm = nn.LayerNorm(fold * fold * inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H / fold, W / fold, C')."""
        if self.fold > 1:
            _, height, width, channels = x.shape
            fold = self.fold
            x = x.reshape(-1, height // fold, fold, width // fold, fold, channels)
            x = x.permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(x))


class SwinStage(nn.Module):
    """Blocks at one resolution, every other one with shifted windows, then the patch merging."""

    def __init__(
        self,
        channels: int,
        heads: int,
        side: int,
        drop_paths: Sequence[float],
        downsample: PatchMerging | None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, side, shifted=index % 2 == 1, drop_path=rate)
            for index, rate in enumerate(drop_paths)
        )
        self.downsample = downsample

    def forward(
        self, x: Tensor, prompts: Tensor | None = None, checkpointing: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Map (B, H, W, C) to the next stage's map; return the prompts (B, t, C) beside it."""
        for block in self.blocks:
            if checkpointing:
                x, prompts = checkpoint(block, x, prompts, use_reentrant=False)
            else:
                x, prompts = block(x, prompts)
        return (x if self.downsample is None else self.downsample(x)), prompts


class PatchEmbed(nn.Module):
    """Patches to tokens."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch, patch)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, S, S) to (B, S / patch, S / patch, C)."""
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Swin(TokenBackbone):
    """The network. Its tokens are the places of the last map, row by row, after the last norm.

    Args:
        depths: Blocks of each stage.
        widths: Channels of each stage.
        heads: Attention heads of each stage.
        embedding_size: D.
        input_size: S, a multiple of 16.
        patch: Side of a patch in pixels.
        drop_path: Probability of leaving out the last block's branches in training; it rises to
            that in equal steps from 0 at the first block.
        checkpointing: Compute each block again in the backward pass instead of keeping what it
            needs: less memory for more time, and the same gradients.
        flat: Embed all places side by side, as FaceX-Zoo does, instead of their weighted mean.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        heads: Sequence[int],
        *,
        embedding_size: int,
        input_size: int,
        patch: int,
        drop_path: float,
        checkpointing: bool,
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.feature_channels = widths[-1]
        self.patch = patch
        self.prompt_widths = tuple(widths)
        self.checkpointing = checkpointing
        self.patch_embed = PatchEmbed(widths[0], patch)
        self.layers = _stages(depths, widths, heads, input_size // patch, drop_path)
        self.norm = nn.LayerNorm(widths[-1])
        side = stage_sides(input_size // patch, len(depths))[-1]
        self.pool: nn.Parameter | None = None
        if not flat:
            # Starts as the mean over the places.
            self.pool = nn.Parameter(torch.full((widths[-1], side * side), 1 / side**2))
        inputs = widths[-1] * (side * side if flat else 1)
        self.linear = nn.Linear(inputs, embedding_size, bias=flat)
        self.bn = nn.BatchNorm1d(embedding_size)
        self.apply(initialise_linear)

    def forward_prompted(
        self, x: Tensor, prompts: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the last map (B, C, H, W) and the last stage's prompts (B, t, C), both normed."""
        checkpointing = self.checkpointing and torch.is_grad_enabled()
        x = self.patch_embed(x)
        last: Tensor | None = None
        for stage, fresh in zip(self.layers, prompts, strict=True):
            x, last = stage(x, fresh, checkpointing)
        last = None if last is None else self.norm(last)
        return self.norm(x).permute(0, 3, 1, 2), last

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, C, H, W)."""
        places = features.flatten(2)
        if self.pool is None:
            return self.bn(self.linear(places.transpose(1, 2).flatten(1)))
        return self.bn(self.linear((places * self.pool).sum(2)))


def _stages(
    depths: Sequence[int],
    widths: Sequence[int],
    heads: Sequence[int],
    side: int,
    drop_path: float,
) -> nn.ModuleList:
    sides = stage_sides(side, len(depths))
    rates = [drop_path * i / max(1, sum(depths) - 1) for i in range(sum(depths))]
    stages = nn.ModuleList()
    for i, depth in enumerate(depths):
        last = i == len(depths) - 1
        merging = None if last else PatchMerging(widths[i], widths[i + 1], sides[i] // sides[i + 1])
        first = sum(depths[:i])
        stages.append(
            SwinStage(widths[i], heads[i], sides[i], rates[first : first + depth], merging)
        )
    return stages


SIZES = {
    "swin_tiny": ((2, 2, 6, 2), 96),
    "swin_small": ((2, 2, 18, 2), 96),
    "swin_base": ((2, 2, 18, 2), 128),
}
"""Blocks of the four stages and channels of the first, by architecture."""

HEAD_WIDTH = 32
"""Channels of an attention head."""


@register
def swin_nano(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    drop_path: DropPathRate = 0.0,
    checkpointing: bool = False,
) -> Swin:
    """Build a Swin of three stages that trains on a CPU: 1.04 M parameters, 91 M multiply-adds."""
    return Swin(
        (2, 2, 4),
        (32, 64, 128),
        (1, 2, 4),
        embedding_size=embedding_size,
        input_size=input_size,
        patch=4,
        drop_path=drop_path,
        checkpointing=checkpointing,
    )


@register
def swin_tiny(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    patch: Patch = 2,
    drop_path: DropPathRate = 0.2,
    checkpointing: bool = False,
    flat: bool = False,
) -> Swin:
    """Build Swin-T: 27.95 M parameters, 4.5 G multiply-adds with patches of 2."""
    return _published(
        "swin_tiny", embedding_size, input_size, patch, drop_path, checkpointing, flat
    )


@register
def swin_small(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    patch: Patch = 2,
    drop_path: DropPathRate = 0.3,
    checkpointing: bool = False,
    flat: bool = False,
) -> Swin:
    """Build Swin-S: 49.27 M parameters, 8.7 G multiply-adds with patches of 2."""
    return _published(
        "swin_small", embedding_size, input_size, patch, drop_path, checkpointing, flat
    )


@register
def swin_base(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    patch: Patch = 2,
    drop_path: DropPathRate = 0.5,
    checkpointing: bool = False,
    flat: bool = False,
) -> Swin:
    """Build Swin-B: 87.31 M parameters, 15.4 G multiply-adds with patches of 2."""
    return _published(
        "swin_base", embedding_size, input_size, patch, drop_path, checkpointing, flat
    )


def _published(
    name: str,
    embedding_size: int,
    input_size: int,
    patch: int,
    drop_path: float,
    checkpointing: bool,
    flat: bool,
) -> Swin:
    depths, first = SIZES[name]
    widths = [first * 2**stage for stage in range(len(depths))]
    return Swin(
        depths,
        widths,
        [width // HEAD_WIDTH for width in widths],
        embedding_size=embedding_size,
        input_size=input_size,
        patch=patch,
        drop_path=drop_path,
        checkpointing=checkpointing,
        flat=flat,
    )
