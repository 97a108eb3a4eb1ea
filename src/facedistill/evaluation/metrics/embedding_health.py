"""Whether embeddings are used well: what accuracy alone does not show.

A student that gives all faces nearly one embedding, or a few faces norms far beyond the others,
can look sound by its accuracy and fail at low false accept rates.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.similarity import embedding_norms

LONG = 10
"""Times the median norm, beyond which a norm is counted."""

COLLAPSED = 0.995
"""Mean cosine of two faces above which most pairs lie in one step (0.01) of squared distance."""

_ROWS = 65_536


@dataclass(frozen=True)
class EmbeddingHealth:
    """How embeddings lie, over distinct images.

    Attributes:
        images: Their number N.
        dimension: D.
        mean_length: Length of the mean of the unit embeddings: 0 where directions are spread
            evenly, 1 where all are one. Its square is the mean cosine of two faces.
        spread: Root mean square distance of unit embeddings from their mean, 0 to 1.
        effective_dimension: (sum of variances)^2 / sum of squares, over the principal directions of
            the unit embeddings: D if all vary alike, 1 if one direction holds all.
        long_norms: How many raw norms are above `LONG` times the median.
        longest: Largest raw norm over the median.
    """

    images: int
    dimension: int
    mean_length: float
    spread: float
    effective_dimension: float
    long_norms: int
    longest: float

    def line(self) -> str:
        """Return the figures as one line of text."""
        return (
            f"embeddings: mean of unit length {self.mean_length:.3f}, spread {self.spread:.3f}, "
            f"effective dimension {self.effective_dimension:.1f} of {self.dimension}, "
            f"{self.long_norms:,} of {self.images:,} norms above {LONG} times the median"
        )

    def problems(self) -> list[str]:
        """Return what is wrong, and what to do; empty where nothing is."""
        found = []
        if self.mean_length**2 > COLLAPSED:
            found.append(
                f"the embeddings have collapsed: two faces have a mean cosine of "
                f"{self.mean_length**2:.4f}; check the input (size, colours, normalisation) and "
                "the training's loss and learning rate"
            )
        if self.long_norms:
            found.append(
                f"{self.long_norms:,} of {self.images:,} embeddings are more than {LONG} times as "
                f"long as the median, the longest {self.longest:,.0f} times: such faces look alike "
                "to strangers; train with training.clip, which a loss of cosines needs"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return asdict(self)


def embedding_health(embeddings: np.ndarray) -> EmbeddingHealth:
    """Measure how embeddings lie.

    Args:
        embeddings: (N, D) floats of distinct images, not normalised.

    Raises:
        FacedistillError: If there is none, or one is not finite or all zero.
    """
    norms = embedding_norms(embeddings)
    if not len(norms):
        raise FacedistillError("there are no embeddings to look at")
    count, dimension = embeddings.shape
    wide = count < dimension
    step = count if wide else _ROWS
    parts = [slice(start, start + step) for start in range(0, count, step)]
    mean = sum((embeddings[part] / norms[part, None]).sum(0) for part in parts) / count
    # The squares of a matrix's singular values are those of its transpose.
    products: Any = np.zeros(2 * (min(count, dimension),))
    for part in parts:
        centred = embeddings[part] / norms[part, None] - mean
        products += centred @ centred.T if wide else centred.T @ centred
    variance, squares = float(np.trace(products)), float(np.square(products).sum())
    length = min(float(np.linalg.norm(mean)), 1.0)
    ratios = norms / np.median(norms)
    return EmbeddingHealth(
        images=count,
        dimension=dimension,
        mean_length=length,
        spread=float(np.sqrt(max(0.0, 1 - length**2))),
        effective_dimension=variance**2 / squares if squares > 0 else 1.0,
        long_norms=int((ratios > LONG).sum()),
        longest=float(ratios.max()),
    )
