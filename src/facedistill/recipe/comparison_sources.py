"""What the rows of a comparison read, looked for before the first of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from facedistill.core.errors import naming
from facedistill.core.missing_files import require_present
from facedistill.recipe.comparison import Comparison, Trial
from facedistill.recipe.loading import require_faces


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


def require_given_faces(
    comparison: Comparison, trials: Iterable[Trial], sources: Sequence[str]
) -> None:
    """Refuse shipped recipes named on the command line to which nobody has given faces.

    A file that describes a comparison says itself what its rows learn from.

    Args:
        comparison: The rows, and the settings for all of them.
        trials: Its runs.
        sources: What the user named, `RECIPE` or `ROW=RECIPE`.

    Raises:
        FacedistillError: Naming the key to set.
    """
    named = {source.rpartition("=")[2] for source in sources}
    for trial in trials:
        recipe = comparison.rows[trial.row].recipe
        if recipe in named:
            require_faces([recipe], trial.recipe.data.train, comparison.settings)


def made_by(trial: Trial, source: str) -> bool:
    """Whether a run finds a source in the folder of another, which is made before it."""
    return source.startswith(tuple(str(folder) for folder in trial.after))
