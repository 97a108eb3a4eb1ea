"""Local features are standardised before they are compared, so that their scale means nothing."""

from __future__ import annotations

from typing import Literal

import torch

from facedistill.distill.objectives.base import Parts

Normalise = Literal["images", "channels", "none"]
"""What the local features are standardised over."""

_EPSILON = 1e-5
"""Added to variances, as normalisation layers do."""


def standardised(features: torch.Tensor, over: Normalise) -> torch.Tensor:
    """Return local features (B, L, d) of mean 0 and variance 1.

    The centres' mean and what each adds to it are standardised apart: together, a loss would fall
    fastest by making all centres say the same.

    Args:
        features: (B, L, d).
        over: `images`: each channel of each local feature over the batch; `channels`: each local
            feature over its channels; `none` changes nothing.
    """
    if over == "none":
        return features
    axis = 0 if over == "images" else 2
    common = features.mean(dim=1, keepdim=True)
    both = _unit_variance(common, axis) + _unit_variance(features - common, axis)
    return both / 2**0.5


def _unit_variance(features: torch.Tensor, axis: int) -> torch.Tensor:
    """Bring features to mean 0 and variance 1 over an axis."""
    centred = features - features.mean(dim=axis, keepdim=True)
    return centred * (centred.square().mean(dim=axis, keepdim=True) + _EPSILON).rsqrt()


@torch.no_grad()
def spread(name: str, features: torch.Tensor) -> Parts:
    """Return the variance of (B, L, d) over centres and over images, as shares of mean square.

    Shares, since what counts is whether features differ, not how long they are: 0 where they are
    all the same, 1 where they have nothing in common.

    What all features have in common counts in the mean square. Tokens of a trained Transformer have
    much of it, so that its h may vary by less than 0.01 and be sound: watch whether that falls.
    """
    power = features.square().mean().clamp(min=torch.finfo(features.dtype).tiny)
    return {
        f"{name}_over_centres": features.var(dim=1, unbiased=False).mean() / power,
        f"{name}_over_images": features.var(dim=0, unbiased=False).mean() / power,
    }
