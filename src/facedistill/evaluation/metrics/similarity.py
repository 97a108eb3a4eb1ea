"""Cosine similarity of pairs of embeddings, and how it relates to Euclidean distance."""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError

_ROWS_AT_ONCE = 65_536


def embedding_norms(embeddings: np.ndarray) -> np.ndarray:
    """Return the L2 norm of every embedding, after refusing those that have no direction.

    Args:
        embeddings: (N, D) floats.

    Returns:
        float64 (N,), all finite and positive.

    Raises:
        FacedistillError: If an embedding is not finite or is all zero; the message names its row.
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2:
        raise FacedistillError(
            f"embeddings have shape {embeddings.shape}: give one row per image, (N, D)"
        )
    norms = np.empty(len(embeddings))
    for start in range(0, len(embeddings), _ROWS_AT_ONCE):
        rows = embeddings[start : start + _ROWS_AT_ONCE].astype(np.float64)
        norms[start : start + len(rows)] = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    broken = np.flatnonzero(~np.isfinite(norms))
    if len(broken):
        raise FacedistillError(
            f"embedding {broken[0]} is not finite ({len(broken)} of {len(norms)} are not): "
            "the network gave NaN or infinity, check its weights and its input"
        )
    empty = np.flatnonzero(norms == 0)
    if len(empty):
        raise FacedistillError(
            f"embedding {empty[0]} is all zero ({len(empty)} of {len(norms)} are): "
            "it has no direction to compare, check the network's weights"
        )
    return norms


def unit_rows(embeddings: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Return the embeddings as unit vectors of a floating-point type.

    Args:
        embeddings: (N, D) floats.
        kind: float32 or float64.

    Raises:
        FacedistillError: If an embedding is not finite or is all zero; the message names its row.
    """
    norms = embedding_norms(embeddings).astype(kind)
    return np.divide(embeddings, norms[:, None], dtype=kind)


def pair_similarities(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine of every pair of embeddings.

    Embeddings need not be normalised. The arithmetic is float64 whatever their type.

    Args:
        embeddings: (N, D) floats.
        pairs: (P, 2) integers, rows of `embeddings`.

    Returns:
        float64 (P,) in [-1, 1].

    Raises:
        FacedistillError: If an embedding is not finite or all zero, or a pair names no row.
    """
    embeddings, pairs = np.asarray(embeddings), np.asarray(pairs)
    norms = embedding_norms(embeddings)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise FacedistillError(f"pairs are {pairs.dtype} {pairs.shape}: give integers (P, 2)")
    outside = np.flatnonzero(((pairs < 0) | (pairs >= len(embeddings))).any(axis=1))
    if len(outside):
        raise FacedistillError(
            f"pair {outside[0]} is {tuple(pairs[outside[0]].tolist())}, "
            f"but there are {len(embeddings)} embeddings"
        )
    cosines = np.empty(len(pairs))
    for start in range(0, len(pairs), _ROWS_AT_ONCE):
        left, right = pairs[start : start + _ROWS_AT_ONCE].T
        dots = np.einsum(
            "pd,pd->p",
            embeddings[left].astype(np.float64),
            embeddings[right].astype(np.float64),
        )
        cosines[start : start + len(left)] = dots / (norms[left] * norms[right])
    return np.clip(cosines, -1.0, 1.0)


def squared_distances(cosines: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distance of unit vectors with these cosines.

    ||a - b||^2 = ||a||^2 + ||b||^2 - 2 a.b = 2 - 2 cos for unit a and b, so distances lie in
    [0, 4] and fall as cosines rise.

    Args:
        cosines: Any shape, in [-1, 1].

    Returns:
        float64, same shape, in [0, 4].
    """
    return np.clip(2.0 - 2.0 * np.asarray(cosines, dtype=np.float64), 0.0, 4.0)


def check_scores(scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Refuse scores and labels from which no error rate can be computed.

    Args:
        scores: (P,) similarities, higher means more alike.
        same: (P,) bool, or integers 0 and 1.

    Returns:
        The scores as floats (float32 stays float32) and `same` as bool.

    Raises:
        FacedistillError: On other shapes, scores that are not finite, labels that are not 0 or 1,
            or when genuine or impostor pairs are missing.
    """
    scores, same = np.asarray(scores), np.asarray(same)
    if scores.ndim != 1 or scores.shape != same.shape:
        raise FacedistillError(
            f"scores have shape {scores.shape} and labels {same.shape}: give one of each per pair"
        )
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    if same.dtype != np.bool_:
        if not np.isin(same, (0, 1)).all():
            raise FacedistillError("labels of pairs must be True (same identity) or False")
        same = same.astype(np.bool_)
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise FacedistillError(f"score of pair {broken[0]} is {scores[broken[0]]}, not a number")
    genuine = int(np.count_nonzero(same))
    if genuine in (0, len(same)):
        missing = "one identity" if genuine == 0 else "two identities"
        raise FacedistillError(
            f"none of the {len(same)} pairs is of {missing}: error rates need pairs of both kinds"
        )
    return scores, same
