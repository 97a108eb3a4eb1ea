"""Which of many faces are of one identity, without knowing any: average linkage.

Clusters are joined while the mean cosine of their faces' pairs reaches a threshold. Of unit vectors
that mean is the product of the clusters' means, so that no matrix of all pairs is ever held. In
each round all pairs of clusters that are each other's nearest are joined at once: of average
linkage this gives the very clusters that joining the nearest pair of all, one after the other,
gives (Murtagh, "A survey of recent advances in hierarchical clustering algorithms", The Computer
Journal 1983).
"""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError

_BLOCK = 1024


def cluster_faces(embeddings: np.ndarray, threshold: float) -> np.ndarray:
    """Return each face's cluster.

    Args:
        embeddings: float32 (N, D) of length 1.
        threshold: Least mean cosine of two clusters' pairs that joins them.

    Returns:
        int64 (N,): clusters numbered from 0, the largest first, equally large ones by their first
        faces.

    Raises:
        FacedistillError: If embeddings are no such matrix.
    """
    if embeddings.ndim != 2:
        raise FacedistillError(f"embeddings have shape {embeddings.shape}: give (N, D)")
    sums = embeddings.astype(np.float32)
    sizes = np.ones(len(sums), np.float32)
    of_face = np.arange(len(sums))
    while len(sums) > 1:
        nearest, cosine = _nearest(sums / sizes[:, None])
        own = np.arange(len(sums))
        mutual = (nearest[nearest] == own) & (cosine >= threshold)
        first = own[mutual & (own < nearest)]
        if not len(first):
            # Rounding may leave equals waiting for each other in a ring: the nearest two go on.
            best = int(cosine.argmax())
            if cosine[best] < threshold:
                break
            first = np.array([min(best, nearest[best])])
            second = np.array([max(best, nearest[best])])
        else:
            second = nearest[first]
        sums[first] += sums[second]
        sizes[first] += sizes[second]
        goes_to = own.copy()
        goes_to[second] = first
        left = np.setdiff1d(own, second)
        of_face = np.searchsorted(left, goes_to)[of_face]
        sums, sizes = sums[left], sizes[left]
    return _largest_first(of_face)


def _nearest(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest other of each cluster, and their mean cosine."""
    nearest = np.empty(len(means), np.int64)
    cosine = np.empty(len(means), np.float32)
    for start in range(0, len(means), _BLOCK):
        scores = means[start : start + _BLOCK] @ means.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        best = scores.argmax(axis=1)  # Of equals the first, from both sides.
        nearest[start : start + _BLOCK] = best
        cosine[start : start + _BLOCK] = scores[rows, best]
    return nearest, cosine


def _largest_first(clusters: np.ndarray) -> np.ndarray:
    """Return the same clusters, numbered by size."""
    _, first, inverse, counts = np.unique(
        clusters, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -counts))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    return numbers[inverse]
