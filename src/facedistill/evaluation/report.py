"""What every protocol finds: figures with a name, a line of text, JSON and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facedistill.evaluation.metrics.embedding_health import EmbeddingHealth


@dataclass(frozen=True)
class Report(ABC):
    """The figures of one network by one protocol.

    Attributes:
        name: What was measured on.
        health: How the embeddings lie, where a protocol looks at them.
    """

    name: str
    health: EmbeddingHealth | None = field(default=None, kw_only=True)

    @property
    def title(self) -> str:
        """The name, and what else tells these figures from others on the same data."""
        return self.name

    @property
    @abstractmethod
    def score(self) -> float:
        """What decides between weights: higher is better."""

    @property
    def figures(self) -> dict[str, float]:
        """Figures to log during training, by name."""
        return {}

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Cosine thresholds by `far_name`; empty where none were found."""
        return {}

    @property
    def file_thresholds(self) -> Mapping[str, float] | None:
        """The thresholds where faces were compared as in use, so that a file may carry them."""
        return None

    @property
    def items(self) -> np.ndarray | None:
        """(N,) what was scored on each pair or face, of which the headline figure is the mean.

        Two networks' items on the same data are compared one by one. None where there are none.
        """
        return None

    @property
    def values(self) -> np.ndarray | None:
        """What the items were made of: (N,) scores of pairs, or (N, P) errors of points."""
        return None

    @abstractmethod
    def line(self) -> str:
        """Return the figures as text."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
