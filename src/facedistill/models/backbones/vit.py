"""Vision Transformers as InsightFace and CVLface train them for faces.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (arXiv 2010.11929), with
arcface_torch's choices: patches of 9 pixels, no class token, ReLU6, no bias in query, key and
value, and an embedding of all tokens side by side. Parameters are named as in arcface_torch, whose
checkpoints load key for key. CVLface's have patches of 8, a perceptron 5 or 3 times as wide as the
tokens, and 16 heads in the deeper one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
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
from facedistill.models.registry import register

PROMPT_STAGES = 4
"""Groups of blocks that take prompts of their own, as many as a Swin has stages."""

Patch = Annotated[int, Field(ge=2, le=16)]
"""Side of a patch in pixels; what is left at the right and bottom edge is not seen."""

Heads = Literal[4, 8, 16]
"""Attention heads; they divide every width here."""

MlpRatio = Annotated[int, Field(ge=1, le=8)]
"""Channels between the two layers of a block's perceptron, by those of its tokens."""

MaskRatio = Annotated[float, Field(ge=0, lt=1)]
"""Share of an image's tokens that training leaves out."""


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, C) to the same shape."""
        _, length, channels = x.shape
        qkv = self.qkv(x).reshape(-1, length, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(query, key, value)
        return self.proj(x.transpose(1, 2).reshape(-1, length, channels))


class Mlp(nn.Module):
    """Two linear layers with a ReLU6 between."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, ratio * channels)
        self.fc2 = nn.Linear(ratio * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, C) to the same shape."""
        return self.fc2(F.relu6(self.fc1(x)))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each after a layer norm and with a shortcut."""

    def __init__(self, channels: int, heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, C) to the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Patches to tokens."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, S, S) to (B, N, C)."""
        return self.proj(x).flatten(2).transpose(1, 2)


class ViT(TokenBackbone):
    """The network. Its tokens are the patches, row by row, after the last norm.

    For prompts its blocks are dealt into `PROMPT_STAGES` groups of equal length, the last ones
    longer where that does not come out even.

    Args:
        depth: Blocks.
        width: C, a multiple of `heads`.
        embedding_size: D.
        input_size: S.
        patch: Side of a patch in pixels.
        heads: Attention heads of a block.
        mlp_ratio: Width of a block's perceptron, by C.
        drop_path: Probability of leaving out the last block's branches in training; it rises to
            that in equal steps from 0 at the first block.
        mask_ratio: Share of each image's tokens that training drops at random before the blocks; a
            learned token takes their places after them.
        checkpointing: Compute each block again in the backward pass instead of keeping what it
            needs: less memory for more time, and the same gradients.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        *,
        embedding_size: int,
        input_size: int,
        patch: int,
        drop_path: float,
        mask_ratio: float,
        checkpointing: bool,
        heads: int = 8,
        mlp_ratio: int = 4,
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.feature_channels = width
        self.patch = patch
        self.prompt_widths = (width,) * PROMPT_STAGES
        self.mask_ratio = mask_ratio
        self.checkpointing = checkpointing
        self.side = input_size // patch
        places = self.side**2
        self.patch_embed = PatchEmbed(width, patch)
        self.pos_embed = nn.Parameter(torch.empty(1, places, width))
        self.mask_token = nn.Parameter(torch.empty(1, 1, width), requires_grad=mask_ratio > 0)
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio, drop_path * index / max(1, depth - 1))
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.feature = nn.Sequential(
            nn.Linear(width * places, width, bias=False),
            nn.BatchNorm1d(width, eps=2e-5),
            nn.Linear(width, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size, eps=2e-5),
        )
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        self.apply(initialise_linear)

    def forward_prompted(
        self, x: Tensor, prompts: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the last map (B, C, H, W) and the last group's prompts (B, t, C), both normed."""
        x = self.patch_embed(x) + self.pos_embed
        kept = self._draw_kept(x) if self.training and self.mask_ratio > 0 else None
        if kept is not None:
            x = x.gather(1, kept[:, :, None].expand(-1, -1, x.shape[2]))
        last: Tensor | None = None
        for group, fresh in zip(self._groups(), prompts, strict=True):
            x, last = self._run(group, x, fresh)
        x = self.norm(x)
        if kept is not None:
            filled = self.mask_token.to(x.dtype).expand(len(x), self.side**2, -1)
            x = filled.scatter(1, kept[:, :, None].expand(-1, -1, x.shape[2]), x)
        last = None if last is None else self.norm(last)
        return x.transpose(1, 2).unflatten(2, (self.side, self.side)), last

    def forward_head(self, features: Tensor) -> Tensor:
        """Return (B, D) of (B, C, H, W)."""
        return self.feature(features.flatten(2).transpose(1, 2).flatten(1))

    def _groups(self) -> list[list[nn.Module]]:
        blocks = list(self.blocks)
        bounds = [len(blocks) * index // PROMPT_STAGES for index in range(PROMPT_STAGES + 1)]
        return [blocks[a:b] for a, b in itertools.pairwise(bounds)]

    def _run(
        self, blocks: list[nn.Module], x: Tensor, prompts: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        places = x.shape[1]
        if prompts is not None:
            x = torch.cat([x, prompts], dim=1)
        for block in blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x[:, :places], None if prompts is None else x[:, places:]

    def _draw_kept(self, x: Tensor) -> Tensor:
        """Draw which places of each image training keeps, (B, kept)."""
        places = x.shape[1]
        order = torch.rand(len(x), places, device=x.device).argsort(1)
        return order[:, : max(1, int(places * (1 - self.mask_ratio)))]


SIZES = {"vit_t": (12, 256), "vit_s": (12, 512), "vit_b": (24, 512), "vit_l": (24, 768)}
"""Blocks and channels, by architecture."""


@register
def vit_t(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    patch: Patch = 9,
    heads: Heads = 8,
    mlp_ratio: MlpRatio = 4,
    drop_path: DropPathRate = 0.1,
    mask_ratio: MaskRatio = 0.1,
    checkpointing: bool = False,
) -> ViT:
    """Build ViT-T: 19.14 M parameters, 1.5 G multiply-adds."""
    return ViT(
        *SIZES["vit_t"],
        embedding_size=embedding_size,
        input_size=input_size,
        patch=patch,
        heads=heads,
        mlp_ratio=mlp_ratio,
        drop_path=drop_path,
        mask_ratio=mask_ratio,
        checkpointing=checkpointing,
    )


@register
def vit_s(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    patch: Patch = 9,
    heads: Heads = 8,
    mlp_ratio: MlpRatio = 4,
    drop_path: DropPathRate = 0.1,
    mask_ratio: MaskRatio = 0.1,
    checkpointing: bool = False,
) -> ViT:
    """Build ViT-S: 76.02 M parameters, 5.7 G multiply-adds."""
    return ViT(
        *SIZES["vit_s"],
        embedding_size=embedding_size,
        input_size=input_size,
        patch=patch,
        heads=heads,
        mlp_ratio=mlp_ratio,
        drop_path=drop_path,
        mask_ratio=mask_ratio,
        checkpointing=checkpointing,
    )


@register
def vit_b(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    patch: Patch = 9,
    heads: Heads = 8,
    mlp_ratio: MlpRatio = 4,
    drop_path: DropPathRate = 0.1,
    mask_ratio: MaskRatio = 0.1,
    checkpointing: bool = False,
) -> ViT:
    """Build ViT-B: 113.83 M parameters, 11.4 G multiply-adds."""
    return ViT(
        *SIZES["vit_b"],
        embedding_size=embedding_size,
        input_size=input_size,
        patch=patch,
        heads=heads,
        mlp_ratio=mlp_ratio,
        drop_path=drop_path,
        mask_ratio=mask_ratio,
        checkpointing=checkpointing,
    )


@register
def vit_l(
    embedding_size: EmbeddingSize = 512,
    input_size: InputSize = 112,
    patch: Patch = 9,
    heads: Heads = 8,
    mlp_ratio: MlpRatio = 4,
    drop_path: DropPathRate = 0.1,
    mask_ratio: MaskRatio = 0.1,
    checkpointing: bool = False,
) -> ViT:
    """Build ViT-L: 255.68 M parameters, 25.3 G multiply-adds."""
    return ViT(
        *SIZES["vit_l"],
        embedding_size=embedding_size,
        input_size=input_size,
        patch=patch,
        heads=heads,
        mlp_ratio=mlp_ratio,
        drop_path=drop_path,
        mask_ratio=mask_ratio,
        checkpointing=checkpointing,
    )
