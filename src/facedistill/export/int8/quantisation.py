"""8 bits for activations and weights, in ONNX's own words: QuantizeLinear and DequantizeLinear.

A real value x is stored as a byte q = clip(round(x / scale) + zero_point). Activations are unsigned
with one scale a value, weights signed and symmetric with one scale an output channel: Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018, sections 2.1 and 2.2. The rounding is to even, as QuantizeLinear's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEVELS = 255
_FRACTIONS = np.geomspace(1.0, 0.05, 24)
_TINY = 1e-20
_LEAST_SCALE = 1e-12
_LARGEST_BIAS = 2**30


@dataclass(frozen=True)
class Quantisation:
    """How real values are stored in a byte.

    Attributes:
        scale: Distance of two neighbouring levels.
        zero_point: The byte that stands for 0, which is always exact: padding is 0.
    """

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> Quantisation:
        """Return the finest one that reaches from `low` to `high` and has a level at 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / _LEVELS, _LEAST_SCALE)
        return cls(float(np.float32(scale)), int(np.clip(np.rint(-low / scale), 0, _LEVELS)))

    @classmethod
    def of_samples(cls, samples: np.ndarray) -> Quantisation:
        """Return the one of least error on samples.

        Both ends are tried at fractions of the extremes, first together, then each alone: what a
        few far outliers lose by being cut off is less than what everything else gains.

        Args:
            samples: (faces, elements).
        """

        def error(low: float, high: float) -> float:
            return cls.of_range(low, high).error(samples)

        low, high = min(float(samples.min()), 0.0), max(float(samples.max()), 0.0)
        both = min(_FRACTIONS, key=lambda part: error(part * low, part * high))
        low, high = both * low, both * high
        high = high * min(_FRACTIONS, key=lambda part: error(low, part * high))
        low = low * min(_FRACTIONS, key=lambda part: error(part * low, high))
        return cls.of_range(low, high)

    def error(self, samples: np.ndarray) -> float:
        """Return the mean over faces of the squared error over the squared values.

        Relative face by face, since some images drive a network to many times its usual
        values: they are few, and must not take the levels of all others.

        Args:
            samples: (faces, elements).
        """
        levels = np.rint(samples / self.scale) + self.zero_point
        stored = (np.clip(levels, 0, _LEVELS) - self.zero_point) * self.scale
        lost = np.square(stored - samples).mean(axis=1)
        return float((lost / np.maximum(np.square(samples).mean(axis=1), _TINY)).mean())


def quantise_weight(
    weight: np.ndarray, bias: np.ndarray, input_scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quantise a layer's weight by output channel and its bias to match.

    Args:
        weight: (C', ...).
        bias: (C').
        input_scale: Of the activation that the layer reads.

    Returns:
        int8 weight, float32 scale (C') and int32 bias, whose scale is `input_scale` times that.
    """
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    # A channel of next to no weights must not make its bias overflow.
    least = np.abs(bias) / (input_scale * _LARGEST_BIAS)
    scale = np.maximum(np.maximum(largest / 127, least), _LEAST_SCALE).astype(np.float32)
    levels = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    stored = np.clip(levels, -127, 127).astype(np.int8)
    return stored, scale, np.rint(bias / (scale.astype(np.float64) * input_scale)).astype(np.int32)
