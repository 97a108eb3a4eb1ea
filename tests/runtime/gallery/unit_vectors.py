"""Embeddings of made-up identities."""

import numpy as np


def unit_vectors(count: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def near(rows: np.ndarray, noise: float, seed: int = 1) -> np.ndarray:
    """Return unit vectors in the neighbourhood of others."""
    moved = rows + noise * unit_vectors(len(rows), rows.shape[1], seed)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)
