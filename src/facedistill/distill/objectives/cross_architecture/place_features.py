"""Sinusoidal features of a place on the face: one function for every grid that lies over it."""

from __future__ import annotations

import torch

REACH = 0.2
"""How far apart, in sides of the face, two places may be and still be alike."""


def place_features(side: int, width: int) -> torch.Tensor:
    """Return float64 (side^2, width) of length 1: features of a grid's cells, row by row.

    u = (x, y) is the middle of a cell, 0 to 1 from the crop's upper left corner to its lower right
    one: a network's pixels and the centres that ask for them have places on one and the same face,
    whatever their grids, if those reach over the whole crop: those of this library do, but for the
    last rows that a patch does not divide (4 of 112 pixels by patches of 9). Each of width / 4
    frequencies gives the sine and the cosine of both coordinates. The frequencies are evenly spread
    quantiles of a normal distribution, so that the product of two places falls off like its
    characteristic function: phi(u) . phi(v) = (G(x_u - x_v) + G(y_u - y_v)) / 2 with
    G(d) = exp(-d^2 / (2 REACH^2)), up to the spacing of the quantiles. (Random Fourier features,
    Rahimi and Recht, NeurIPS 2007, of a Gaussian kernel, with nothing random.)

    Args:
        side: Of the grid.
        width: A multiple of 4.

    Raises:
        ValueError: If it is none.
    """
    if width < 4 or width % 4:
        raise ValueError(f"width {width} is no multiple of 4, as places need it")
    count = width // 4
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    frequencies = torch.special.ndtri((1 + levels) / 2) / REACH
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angles = torch.stack([x, y], dim=-1).flatten(0, 1)[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1) / (2 * count) ** 0.5
