"""The input of a small student, and faces for it."""

import numpy as np

from facedistill.runtime.input_spec import InputSpec

SIDE = 16
SPEC = InputSpec(size=SIDE, color="BGR", mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))


def faces(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)
