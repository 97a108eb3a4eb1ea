"""Rounded weights give sums that are off by a constant on average; the bias takes it back.

Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019,
equation 17: with a weight's error e, a layer's output is off by e E[x] on average. The mean of
x is measured on faces here, where they have it from batch norm.
"""

from __future__ import annotations

import numpy as np


def mean_shift(error: np.ndarray, mean: np.ndarray, *, depthwise: bool = False) -> np.ndarray:
    """Return by how much each output channel of a layer is off on average.

    Args:
        error: Stored less wanted weight, (C', C) or (C', C / groups, k, k).
        mean: Of the layer's input by channel, (C).
        depthwise: Whether each output channel sees its own input channel only.

    Returns:
        (C'). Places where a convolution's padding meets the border are taken for inner ones.
    """
    taps = error.reshape(*error.shape[:2], -1).sum(axis=2)
    return taps[:, 0] * mean if depthwise else taps @ mean
