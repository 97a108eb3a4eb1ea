"""Whose run a folder holds, and what a run that was cut off leaves in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.output_place import require_outside
from facedistill.core.regular_files import read_regular_text
from facedistill.engine.checkpoint import CHECKPOINT
from facedistill.engine.metrics_log import METRICS
from facedistill.experiments.folder import LAST, RECIPE, SUMMARY
from facedistill.models.files.run_weights import BEST
from facedistill.models.heads.class_head import head_path
from facedistill.recipe.loading import load_recipe
from facedistill.recipe.schema import Recipe
from facedistill.report.documents.model_card import CARD

_MADE = (CHECKPOINT, BEST, LAST, SUMMARY)
_HEADS = tuple(head_path(name).name for name in (BEST, LAST))
_WRITTEN = (*_MADE, *_HEADS, METRICS, CARD)


def standing(folder: Path) -> str:
    """Say what a run that was stopped has left in its folder, and what to do next."""
    if (folder / SUMMARY).exists():
        return f"{folder} keeps its result: run the same command to go on"
    if (folder / CHECKPOINT).exists():
        return f"{folder} keeps its checkpoint: run the same command to go on"
    return f"no step is saved in {folder} yet: run the same command again"


def check_owner(folder: Path, recipe: Recipe) -> None:
    """Refuse a folder that holds anything else than this recipe's run, before it is replaced.

    Raises:
        FacedistillError: Naming the first difference, or the first file that is of no run; or if
            the folder lies among the faces that the recipe reads.
    """
    require_outside(folder, *recipe.data_sources())
    path = folder / RECIPE
    if not path.exists():
        for name in _there(folder, _WRITTEN):
            raise FacedistillError(
                f"{folder / name} is there already and no {RECIPE} beside it, so it is of no run "
                "to go on with: choose another --out"
            )
        return
    if not _there(folder, _WRITTEN):
        if read_regular_text(path, "replace") != recipe.to_yaml():
            raise FacedistillError(
                f"{path} is there already and no run beside it: choose another --out"
            )
        return
    if not _there(folder, _MADE):
        return  # A run that has saved nothing yet.
    owner = load_recipe(path)
    if owner.hash != recipe.hash:
        raise FacedistillError(
            f"{folder} holds a run of another recipe ({_difference(owner, recipe)}): choose "
            "another --out, or give the same recipe and settings to go on"
        )


@contextmanager
def begun(recipe: Recipe, folder: Path) -> Iterator[None]:
    """Write a run's recipe into its folder; a run that comes to nothing takes it away again."""
    path, metrics = folder / RECIPE, folder / METRICS
    new = [each for each in (path, metrics) if not each.exists()]
    with atomic_path(path) as temporary:
        temporary.write_text(recipe.to_yaml(), "utf-8")
    try:
        yield
    except BaseException:
        if not _there(folder, _MADE) and not _has_records(metrics):
            for each in new:
                each.unlink(missing_ok=True)
        raise


def _there(folder: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (folder / name).exists()]


def _has_records(metrics: Path) -> bool:
    return metrics.exists() and metrics.stat().st_size > 0


def _difference(one: Recipe, other: Recipe) -> str:
    """Name the first key in which two recipes differ."""
    first: Any = one.decisive()
    second: Any = other.decisive()
    place: list[str] = []
    while isinstance(first, dict) and isinstance(second, dict):
        keys = [*first, *(key for key in second if key not in first)]
        key = next(key for key in keys if first.get(key, place) != second.get(key, place))
        place.append(key)
        first, second = first.get(key), second.get(key)
    return f"its {'.'.join(place)} is {json.dumps(first)}, not {json.dumps(second)}"
