"""One run of a comparison: made, measured, and what went wrong with it written down."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.progress import Say
from facedistill.core.regular_files import read_regular_text
from facedistill.core.signals import stoppable
from facedistill.data.open import open_dataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.making import embed_teacher
from facedistill.engine.accelerator import runs_on_cpu
from facedistill.experiments.build.training_data import open_test_set, split_data
from facedistill.experiments.folder import BANK, ERROR, SUMMARY
from facedistill.experiments.measurement import TestSet, measure
from facedistill.experiments.ownership import standing
from facedistill.experiments.run import run
from facedistill.experiments.run_card import write_run_card
from facedistill.models.files.model_file import load_model
from facedistill.models.files.run_weights import BEST
from facedistill.recipe.comparison import Trial
from facedistill.recipe.schema import PairsRecipe, Recipe


@dataclass(frozen=True)
class Job:
    """A run to be made and measured.

    Attributes:
        trial: The run.
        sets: What to measure it on, by name; None stands for its validation identities.
    """

    trial: Trial
    sets: Mapping[str, PairsRecipe | None]

    @property
    def blocked_by(self) -> Path | None:
        """A run that it needs and that has no result, or crashed with one."""
        return next((f for f in self.trial.after if not has_result(f)), None)


def attempt(job: Job, say: Say) -> None:
    """Run and measure; what goes wrong is written down and no other run's concern.

    Raises:
        Interrupted: If the run was asked to stop.
    """
    folder = job.trial.folder
    if job.blocked_by is not None:
        note_error(folder, f"needs {job.blocked_by}, which has no result")
        return
    (folder / ERROR).unlink(missing_ok=True)
    try:
        with stoppable(lambda: f"stopped outside of training, {standing(folder)}"):
            _make(job, say)
    except FacedistillError as error:
        note_error(folder, str(error))
    except Exception as error:
        note_error(folder, f"{type(error).__name__}: {error}", traceback.format_exc())


def _make(job: Job, say: Say) -> None:
    recipe, folder = job.trial.recipe, job.trial.folder
    evaluation = dict(run(recipe, folder, say).evaluation)
    device = torch.device("cpu" if runs_on_cpu(recipe.training.device) else "cuda")
    for name, source in job.sets.items():
        tests = open_tests(recipe, source)
        evaluation[name] = dict(measure(folder, name, tests, source, device).report)
    write_run_card(recipe, folder, evaluation)
    if job.trial.bank:
        _embed(recipe, folder, tokens=job.trial.tokens)


def _embed(recipe: Recipe, folder: Path, *, tokens: bool) -> None:
    """Embed a run's training data by its best weights, both views, for the runs that need it."""
    embed_teacher(
        load_model(folder / BEST),
        open_dataset(
            recipe.data.train,
            relabel=True,
            root=recipe.data.root,
            skip=recipe.data.on_error == "skip",
        ),
        folder / BANK,
        workers=recipe.data.workers,
        tokens=tokens,
    )


def has_bank(folder: Path, *, tokens: bool = False) -> bool:
    """Whether a run's folder has a finished bank, with tokens where they are asked for."""
    try:
        bank = Bank(folder / BANK)
    except FacedistillError:
        return False
    return bank.info.pixels is not None or not tokens


def open_tests(recipe: Recipe, source: PairsRecipe | None) -> TestSet:
    """Open what a run is measured on: pairs, landmarks, or its validation identities.

    Raises:
        FacedistillError: If it is not there, or the run has no validation identities.
    """
    if source is not None:
        return open_test_set(recipe, source)
    held_out = split_data(recipe)[1]
    if held_out is None:
        raise FacedistillError(f"{recipe.data.train} has no labels: give pairs to measure on")
    return held_out


def finds_landmarks(recipe: Recipe) -> bool:
    """Whether a recipe trains a network that finds landmarks instead of embedding faces."""
    return recipe.student.landmarks is not None


def has_result(folder: Path) -> bool:
    """Whether a run is finished, and nothing has gone wrong since."""
    return (folder / SUMMARY).exists() and not (folder / ERROR).exists()


def note_error(folder: Path, line: str, trace: str = "") -> None:
    """Write down why a run has no result."""
    with atomic_path(folder / ERROR) as temporary:
        document = {"error": " ".join(line.split()), "traceback": trace}
        temporary.write_text(json_text(document) + "\n", "utf-8")


def read_error(folder: Path) -> str | None:
    """Return why a run has no result; None if nothing was written down."""
    path = folder / ERROR
    if not path.exists():
        return None
    try:
        return str(json.loads(read_regular_text(path))["error"])
    except (ValueError, KeyError, TypeError):
        return f"an error whose record {path} is damaged"
