"""Facial positional encoding: where on the face a local centre stands.

The centres stand on a square grid over the aligned crop. A distance of each from the grid's middle,
which is the nose, is put into a bucket, and each bucket has a learned vector.
"""

from __future__ import annotations

from math import log
from typing import Literal

import torch

from facedistill.distill.objectives.cross_architecture.pixel_features import resampled
from facedistill.runtime.alignment import template

Position = Literal["none", "euclid", "saliency", "relative"]
"""Which distance is encoded; `none` switches the encoding off."""


def grid_points(side: int) -> torch.Tensor:
    """Return float64 (side^2, 2): the (x, y) of a grid's cells, row by row, in cells."""
    axis = torch.arange(side, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def middle(side: int) -> torch.Tensor:
    """Return float64 (2,): the anchor, the (x, y) of the grid's middle, in cells."""
    return torch.full((2,), (side - 1) / 2, dtype=torch.float64)


def euclid(side: int) -> torch.Tensor:
    """Return float64 (side^2,): each cell's distance from the anchor, in cells."""
    return (grid_points(side) - middle(side)).norm(dim=1)


def saliency_distance(saliency: torch.Tensor, side: int) -> torch.Tensor:
    """Return float64 (side^2,): |S(l) - S(anchor)|.

    Args:
        saliency: (H, H) map S of the face, resampled where H is not the grid's side.
        side: Of the grid of centres.
    """
    on_grid = resampled(saliency.double()[None, None], side)[0, 0]
    # Of an even side the anchor lies between four cells: their mean.
    low, high = (side - 1) // 2, side // 2
    anchor = on_grid[low : high + 1, low : high + 1].mean()
    return (on_grid - anchor).abs().flatten()


def relative_distance(side: int) -> torch.Tensor:
    """Return float64 (side^2,): ||v(l) - v(anchor)|| / sqrt 5, in cells.

    v(l) are the distances of a point from the five landmarks of the ArcFace template.
    """
    # Pixel coordinates name pixel centres, so the crop's edges lie at -0.5 and side - 0.5.
    landmarks = torch.from_numpy((template() + 0.5) * (side / 112) - 0.5)
    seen = torch.cdist(grid_points(side), landmarks)
    return (seen - torch.cdist(middle(side)[None], landmarks)).norm(dim=1) / 5**0.5


def facial_distance(
    side: int,
    position: Position,
    gamma: float = 1.0,
    saliency: torch.Tensor | None = None,
    cells: int | None = None,
) -> torch.Tensor:
    """Return float64 (side^2,): D(l, anchor) = Euclid(l, anchor) + gamma D_face(l, anchor).

    Args:
        side: Of the grid.
        position: D_face: `saliency`, `relative`, or `euclid` for none.
        gamma: Weight of D_face.
        saliency: (H, H) map; needed for `saliency`.
        cells: Side of the grid in whose cells distances are measured; by default this grid's own.
    """
    ratio = (cells or side) / side
    if position == "relative":
        return ratio * (euclid(side) + gamma * relative_distance(side))
    if position == "saliency":
        assert saliency is not None
        return ratio * euclid(side) + gamma * saliency_distance(saliency, side)
    return ratio * euclid(side)


def bucket_index(distance: torch.Tensor, buckets: int) -> torch.Tensor:
    """Return int64, of the same shape: the bucket of each distance, 0..buckets - 1.

    The piecewise index of iRPE (Wu et al., "Rethinking and Improving Relative Position Encoding for
    Vision Transformer", ICCV 2021): with a = r, b = 2 r, g = 8 r, an x up to a is rounded, a
    larger one gets min(b, round(a + ln(x / a) / ln(g / a) (b - a))), cut to a whole number. The
    ratio r is (buckets - 0.2) / 2: 4 buckets are iRPE's default 1.9.

    Args:
        distance: Not negative.
        buckets: 1 or more.
    """
    a = (buckets - 0.2) / 2
    b, g = 2 * a, 8 * a
    far = a + (distance.clamp(min=a) / a).log() / log(g / a) * (b - a)
    return torch.where(distance <= a, distance.round(), far.round().clamp(max=b)).long()
