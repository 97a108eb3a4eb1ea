"""The model card of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from facedistill.experiments.folder import figures_of
from facedistill.models.files.model_file import load_model
from facedistill.models.files.run_weights import BEST
from facedistill.recipe.schema import Recipe
from facedistill.report.documents.model_card import write_card


def write_run_card(recipe: Recipe, folder: Path, reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `MODEL_CARD.md` into a run's folder.

    Args:
        recipe: Of the run.
        folder: Of the run, which has its best weights.
        reports: Figures by name of what they were measured on.
    """
    network = load_model(folder / BEST)
    write_card(
        folder,
        network,
        recipe=yaml.safe_dump(_shareable(recipe.model_dump(mode="json")), sort_keys=False),
        reports=reports,
        figure_files={shows: path.name for shows, path in figures_of(folder).items()},
    )


def _shareable(value: Any) -> Any:
    """A recipe's plain values; of a path only the last name, which hides the machine."""
    if isinstance(value, Mapping):
        return {key: _shareable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shareable(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
