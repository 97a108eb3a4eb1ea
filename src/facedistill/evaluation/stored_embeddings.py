"""Evaluation without a network, from embeddings in `.npy` files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.npy import open_embeddings
from facedistill.evaluation.metrics import kfold
from facedistill.evaluation.metrics.roc import FARS
from facedistill.evaluation.metrics.similarity import pair_similarities
from facedistill.evaluation.protocols.pair_verification import (
    PairReport,
    Pairs,
    check_pairs,
    check_protocol,
    pair_identities,
    report_scores,
)


@dataclass(frozen=True)
class StoredEmbeddings:
    """Embeddings of a protocol's images, not normalised.

    Attributes:
        name: The file.
        plain: (N, D) floats, memory-mapped.
        flipped: (N, D) of the mirrored images, or None.
    """

    name: str
    plain: np.ndarray
    flipped: np.ndarray | None = None


def open_stored(path: str | Path, flipped: str | Path | None = None) -> StoredEmbeddings:
    """Open embeddings.

    Args:
        path: A `.npy` file of floats (N, D).
        flipped: The same of the mirrored images.

    Raises:
        FacedistillError: If a file is absent, damaged or holds something else.
    """
    plain = _open(Path(path))
    if flipped is None:
        return StoredEmbeddings(str(path), plain)
    mirrored = _open(Path(flipped))
    if mirrored.shape != plain.shape:
        raise FacedistillError(
            f"{flipped} has shape {mirrored.shape}, but {path} has {plain.shape}: "
            "both must hold the same images"
        )
    return StoredEmbeddings(str(path), plain, mirrored)


def _open(path: Path) -> np.ndarray:
    try:
        return open_embeddings(path)
    except FileNotFoundError:
        raise FacedistillError(f"{path} does not exist") from None
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error


def evaluate_stored_pairs(
    embeddings: StoredEmbeddings,
    pairset: Pairs,
    *,
    protocol: kfold.Protocol = "insightface",
    folds: int = 10,
    fars: Sequence[float] = FARS,
    resamples: int = 1000,
    seed: int = 0,
) -> PairReport:
    """Measure verification on one set of pairs.

    Args:
        embeddings: 2 P rows, 2 i and 2 i + 1 for pair i, as the images lie in a `.bin` file; or a
            row per distinct image of the set, in its order. Mirrored ones are added.
        pairset: The pairs.
        protocol: Headline protocol; both are computed.
        folds: Number of contiguous folds where the set names none.
        fars: False accept rates at which to report.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If embeddings do not fit the pairs, or either is unusable.
    """
    check_protocol(protocol)
    check_pairs(pairset)
    rows = _rows(embeddings, pairset)
    summed = embeddings.plain
    if embeddings.flipped is not None:
        summed = np.asarray(summed, dtype=np.float64) + embeddings.flipped
    return report_scores(
        pairset.name,
        pair_similarities(summed, rows),
        pairset.same,
        protocol=protocol,
        folds=folds if pairset.folds is None else pairset.folds,
        identities=pair_identities(pairset),
        fars=fars,
        flip=embeddings.flipped is not None,
        resamples=resamples,
        seed=seed,
    )


def _rows(embeddings: StoredEmbeddings, pairset: Pairs) -> np.ndarray:
    """Return the two rows of each pair."""
    count, images = 2 * len(pairset.same), int(pairset.pairs.max()) + 1
    if len(embeddings.plain) == images:
        return pairset.pairs
    if len(embeddings.plain) == count:
        return np.arange(count).reshape(-1, 2)
    raise FacedistillError(
        f"{embeddings.name} has {len(embeddings.plain):,} rows, which do not fit {pairset.name}: "
        f"give {count:,}, two per pair in the pairs' order, or {images:,}, one per distinct image"
    )
