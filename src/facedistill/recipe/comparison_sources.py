"""What the rows of a comparison read, looked for before the first of them runs."""

from __future__ import annotations

from collections.abc import Iterable

from facedistill.core.errors import naming
from facedistill.core.missing_files import require_present
from facedistill.recipe.comparison import Comparison, Trial


def require_sources(comparison: Comparison, trials: Iterable[Trial]) -> None:
    """Refuse a comparison if something that it reads is not there.

    Args:
        comparison: What all rows are measured on.
        trials: The runs that are still to be made; what one of them makes for another passes.

    Raises:
        FacedistillError: Naming the row, and what is not there.
    """
    require_present(*(each.pairs for each in comparison.evaluation.values()))
    for trial in trials:
        with naming(f"row {trial.row}"):
            require_present(*(each for each in trial.recipe.sources() if not made_by(trial, each)))


def made_by(trial: Trial, source: str) -> bool:
    """Whether a run finds a source in the folder of another, which is made before it."""
    return source.startswith(tuple(str(folder) for folder in trial.after))
