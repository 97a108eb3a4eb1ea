"""Pairs of noisy images, and their verification with options as keyword arguments."""

from dataclasses import dataclass, field

import numpy as np

from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.models.outputs import Outputs

IDENTITIES = 20


@dataclass
class FacePairs:
    """Forty images, two of each identity; pairs of one identity and of it and the next in turn."""

    name: str = "faces"
    folds: np.ndarray | None = None
    identities: np.ndarray | None = None
    pairs: np.ndarray = field(
        default_factory=lambda: np.array(
            [
                pair
                for p in range(IDENTITIES)
                for pair in ((2 * p, 2 * p + 1), (2 * p, (2 * p + 2) % 40))
            ]
        )
    )
    same: np.ndarray = field(default_factory=lambda: np.arange(2 * IDENTITIES) % 2 == 0)
    read: list[int] = field(default_factory=list)

    def image(self, index: int) -> np.ndarray:
        self.read.append(index)
        rng = np.random.default_rng(index // 2)
        image = rng.integers(256, size=(4, 4, 3))
        noise = np.random.default_rng(100 + index).integers(-90, 90, size=(4, 4, 3))
        return np.clip(image + noise, 0, 255).astype(np.uint8)


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def evaluate_pairs(embedder, pairset, **settings):
    return PairProtocol(pairset).evaluate(embedder, EvaluationOptions(**settings))
