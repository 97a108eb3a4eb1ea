"""Faces clustered by identity: average linkage beside DBSCAN, on embeddings of labelled faces.

    python benchmarks/clustering.py EMBEDDINGS.npy FACES [--identities 1000]

Half of the identities are for setting thresholds, the other half is clustered; no identity is in
both. Of the first half come the thresholds at false accept rates that a model file would carry, and
from them the threshold of average linkage, by the FPIR for as many faces (`search_threshold`); that
of 0.9 is the one of `facedistill cluster`. DBSCAN (at least 2 faces within the radius) has that of
0.01, and both have the one that is best for them on the very faces that are clustered, which nobody
has in use.

Pairwise F is the harmonic mean of precision and recall over pairs of faces; BCubed F that of the
means over faces of the precision and recall of each one's cluster (Amigo et al., 2009).
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
from sklearn.cluster import DBSCAN

from facedistill.data.open import open_dataset
from facedistill.evaluation.metrics.roc import FARS
from facedistill.runtime.gallery.clustering import cluster_faces
from facedistill.runtime.gallery.fpir_threshold import search_threshold
from facedistill.runtime.gallery.photo_clusters import LINKAGE_FPIR

FARS_SAVED = (*FARS, 1e-5, 1e-6)
FPIRS = (0.01, 0.5, LINKAGE_FPIR)


def thresholds_of(units: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the least cosine that accepts a pair, by FAR over all impostor pairs."""
    scores = units @ units.T
    above = np.triu(labels[:, None] != labels, 1)
    impostors = np.sort(scores[above])[::-1]
    return {f"{far:.0e}": float(impostors[int(far * len(impostors))]) for far in FARS_SAVED}


def pairwise(labels: np.ndarray, clusters: np.ndarray) -> tuple[float, float, float]:
    """Return precision, recall and F over pairs."""
    table = _table(labels, clusters)
    both, ours, theirs = (
        (counts * (counts - 1) / 2).sum() for counts in (table, table.sum(0), table.sum(1))
    )
    return _harmonic(both / max(ours, 1), both / max(theirs, 1))


def bcubed(labels: np.ndarray, clusters: np.ndarray) -> tuple[float, float, float]:
    """Return BCubed precision, recall and F."""
    table = _table(labels, clusters)
    precision = (table**2 / table.sum(0, keepdims=True)).sum() / len(labels)
    recall = (table**2 / table.sum(1, keepdims=True)).sum() / len(labels)
    return _harmonic(precision, recall)


def _table(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    _, rows = np.unique(labels, return_inverse=True)
    _, columns = np.unique(clusters, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)
    return table


def _harmonic(precision: float, recall: float) -> tuple[float, float, float]:
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def dbscan(units: np.ndarray, threshold: float) -> np.ndarray:
    """Return clusters; each face that DBSCAN takes for noise is one of its own."""
    distances = np.clip(1 - units @ units.T, 0, None)
    found = DBSCAN(eps=1 - threshold, min_samples=2, metric="precomputed").fit_predict(distances)
    alone = found < 0
    found[alone] = found.max() + 1 + np.arange(alone.sum())
    return found


def main() -> None:
    """Print a row for each method and threshold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embeddings")
    parser.add_argument("faces")
    parser.add_argument("--identities", type=int, default=1000, help="half of them are clustered")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    labels = open_dataset(chosen.faces).labels
    embeddings = np.load(chosen.embeddings, mmap_mode="r")
    if len(embeddings) != len(labels):
        parser.error(f"{len(embeddings):,} embeddings for {len(labels):,} faces")
    rng = np.random.default_rng(chosen.seed)
    identities = rng.permutation(np.unique(labels[labels >= 0]))[: chosen.identities]
    halves = []
    for half in np.array_split(identities, 2):
        rows = np.flatnonzero(np.isin(labels, half))
        units = np.asarray(embeddings[rows], np.float32)
        halves.append((units / np.linalg.norm(units, axis=1, keepdims=True), labels[rows]))
    (own, own_labels), (units, labels) = halves
    thresholds = thresholds_of(own, own_labels)
    print(f"{len(units):,} faces of {len(np.unique(labels)):,} identities, seed {chosen.seed}")
    print("| method | threshold | clusters | pairwise P | R | F | BCubed P | R | F | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for fpir in FPIRS:
        limit = search_threshold(thresholds, len(units), fpir)
        assert limit is not None
        _row(f"average linkage, FPIR {fpir:g}", cluster_faces, units, labels, limit.cosine)
        if fpir == 0.01:
            _row(f"DBSCAN, FPIR {fpir:g}", dbscan, units, labels, limit.cosine)
    for name, method in (("average linkage", cluster_faces), ("DBSCAN", dbscan)):
        grid = np.arange(0.1, 0.7, 0.02)
        best = max(grid, key=lambda each: bcubed(labels, method(units, each))[2])
        _row(f"{name}, best threshold", method, units, labels, float(best))


def _row(name, method, units, labels, threshold) -> None:
    start = perf_counter()
    clusters = method(units, threshold)
    seconds = perf_counter() - start
    figures = (*pairwise(labels, clusters), *bcubed(labels, clusters))
    cells = " | ".join(f"{figure:.3f}" for figure in figures)
    count = len(np.unique(clusters))
    print(f"| {name} | {threshold:.3f} | {count:,} | {cells} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
