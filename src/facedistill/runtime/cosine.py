"""The cosine similarity of embeddings."""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosines between embeddings, row by row.

    Args:
        a: (D,) or (N, D).
        b: Likewise; one embedding is compared with every row of the other.

    Returns:
        (), or (N,).

    Raises:
        FacedistillError: If the shapes do not fit, or an embedding is all zero.
    """
    fits = {a.ndim, b.ndim} <= {1, 2} and a.shape[-1] == b.shape[-1]
    if not fits or (a.ndim == b.ndim == 2 and len(a) != len(b)):
        raise FacedistillError(f"embeddings of shapes {a.shape} and {b.shape} cannot be compared")
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    if not np.all(lengths):
        raise FacedistillError("an embedding that is all zero is like no other")
    return (a * b).sum(axis=-1) / lengths
