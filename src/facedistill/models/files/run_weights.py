"""Which file is meant where a run's folder stands for a model file."""

from __future__ import annotations

from pathlib import Path

from facedistill.core.errors import FacedistillError

BEST = "best.safetensors"
"""A run's best weights, in its folder."""


def model_in(source: str | Path) -> Path:
    """Return the best weights of a run's folder; any other path as it is."""
    best = Path(source) / BEST
    return best if best.exists() else Path(source)


def best_of(source: str | Path) -> Path:
    """Return the model file that is meant by a path: of a run's folder, its best.

    Raises:
        FacedistillError: If it is a folder without best weights.
    """
    path = Path(source)
    if not path.is_dir():
        return path
    if not (path / BEST).exists():
        raise FacedistillError(
            f"{path} is a folder without {BEST}: give a model file, or the folder of a run that "
            "has reached its first evaluation"
        )
    return path / BEST
