"""A comparison carried out: what is missing is run, and all rows are measured on the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedistill.core.atomic import require_absent
from facedistill.core.errors import FacedistillError, naming
from facedistill.core.progress import Say
from facedistill.core.regular_files import read_regular_text
from facedistill.data.dataset import FaceDataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.bank.bank import Bank
from facedistill.engine.metrics_log import METRICS, read_metrics
from facedistill.evaluation.statistics.table_rows import Measured, Row, RunResult, assemble
from facedistill.experiments.build.student import check_network
from facedistill.experiments.build.training_data import split_data
from facedistill.experiments.comparison_latency import LATENCY, time_rows
from facedistill.experiments.folder import SUMMARY, claim, figures_of
from facedistill.experiments.measurement import TestSet, fingerprint, read_measurement, truth_of
from facedistill.experiments.ownership import check_owner
from facedistill.experiments.processes import run_apart
from facedistill.experiments.summary import changed_origin
from facedistill.experiments.trial import (
    Job,
    attempt,
    finds_landmarks,
    has_bank,
    open_tests,
    read_error,
)
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.files.model_file import load_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.files.run_weights import BEST
from facedistill.recipe.comparison import RUNS, Comparison, Trial, plan
from facedistill.recipe.comparison_sources import made_by
from facedistill.recipe.schema import PairsRecipe, Recipe
from facedistill.report.documents.comparison_page import TABLES
from facedistill.report.documents.grid_tables import GRIDS
from facedistill.report.documents.model_card import UNKNOWN
from facedistill.report.documents.pareto_panels import PARETO

VALIDATION = "validation people"
"""Name, also on disk, of the pairs where none are named: they chose the weights too."""


@dataclass(frozen=True)
class Task:
    """What rows are measured on: pairs, or landmarks for the rows that find them.

    Attributes:
        source: Where it is and what is drawn on it; None for the validation identities of a run.
        tests: Pairs, or faces with landmarks.
        fingerprint: Hash of both.
    """

    source: PairsRecipe | None
    tests: TestSet
    fingerprint: str

    def suits(self, recipe: Recipe) -> bool:
        """Whether a run can be measured on it."""
        return isinstance(self.tests, PairSet) != finds_landmarks(recipe)


def run_comparison(
    comparison: Comparison, out: str | Path, *, jobs: int | None = None, say: Say = print
) -> list[Row]:
    """Run what is missing of a comparison, and measure all rows on the same.

    Finished runs are not repeated, unfinished ones go on, crashed ones are tried again; a crash
    stops no run but those that need it.

    Args:
        comparison: Rows, seeds and pairs.
        out: Folder; runs are in `runs/ROW/seed-SEED`, each with its `log.txt`.
        jobs: Processes at a time; by default one per accelerator, or one on a CPU. 0 runs all in
            this process.
        say: Takes a line about what goes on.

    Returns:
        The table's rows in the comparison's order.

    Raises:
        Interrupted: After SIGTERM, SIGHUP or Ctrl-C; runs that made steps have a checkpoint.
        FacedistillError: If recipes are unusable, or folders hold other runs.
    """
    out = Path(out)
    trials = plan(comparison, out)
    _check_folder(out)
    for trial in trials:
        check_owner(trial.folder, trial.recipe)
    tasks = open_tasks(comparison, trials)
    _check_students(trials)
    _check_faces([trial for trial in trials if not (trial.folder / SUMMARY).exists()])
    with claim(out):
        _run_missing(comparison.name, trials, tasks, jobs, say)
        rows = _rows(comparison, trials, tasks)
        return time_rows(rows, out, say=say) if comparison.latency else rows


def _check_folder(out: Path) -> None:
    """Refuse a folder with files of the names of the tables, and no runs that they are of."""
    if not any((out / RUNS).glob("*/seed-*")):
        names = (*TABLES, PARETO, GRIDS, LATENCY)
        require_absent(*(out / name for name in names))


def _run_missing(
    name: str, trials: Sequence[Trial], tasks: Mapping[str, Task], jobs: int | None, say: Say
) -> None:
    missing = [_job(trial, tasks) for trial in trials if not _is_done(trial, tasks)]
    say(f"{name}: {len(trials)} runs, {len(trials) - len(missing)} are finished")
    if jobs != 0:
        run_apart(missing, jobs, say, trials=trials)
        return
    for job in missing:
        attempt(job, say)
        say(f"{job.trial.title}: {read_error(job.trial.folder) or 'done'}")


def _check_students(trials: Sequence[Trial]) -> None:
    """Refuse networks that cannot be built before the first of all runs."""
    for trial in {trial.recipe.student.model_dump_json(): trial for trial in trials}.values():
        with naming(f"row {trial.row}"):
            check_network(trial.recipe.student)


def _check_faces(trials: Sequence[Trial]) -> None:
    """Refuse faces that cannot be read, and banks of other faces, before the first of all runs."""
    known: dict[str, FaceDataset] = {}
    for trial in trials:
        recipe, bank = trial.recipe, trial.recipe.teacher and trial.recipe.teacher.bank
        key = recipe.data.model_dump_json()
        with naming(f"row {trial.row}"):
            if key not in known:
                known[key] = split_data(recipe)[0]
            if bank and not made_by(trial, bank):
                Bank(bank).check_dataset(known[key])


def open_tasks(comparison: Comparison, trials: Sequence[Trial]) -> dict[str, Task]:
    """Open what rows are measured on.

    It is the comparison's own `evaluation`, else that of the recipes, else the validation
    identities. Where some rows find landmarks and others do not, the comparison's own is for the
    others.

    Raises:
        FacedistillError: If two recipes give one name to different sets, landmarks and pairs have
            one name, or none gives any and they do not share their validation identities.
    """
    landmarks = [trial.recipe for trial in trials if finds_landmarks(trial.recipe)]
    recognisers = [trial.recipe for trial in trials if not finds_landmarks(trial.recipe)]
    own = comparison.evaluation
    of_landmarks = _tasks_of(landmarks, {} if recognisers else own)
    of_pairs = _tasks_of(recognisers, own)
    if both := of_landmarks.keys() & of_pairs.keys():
        raise FacedistillError(
            f"'{min(both)}' is the name of landmarks for some rows and of pairs for others: give "
            "the comparison's `evaluation`, or the recipes' own, another name"
        )
    return of_landmarks | of_pairs


def _tasks_of(recipes: Sequence[Recipe], own: Mapping[str, PairsRecipe]) -> dict[str, Task]:
    """What rows of one kind are measured on."""
    sources: dict[str, PairsRecipe | None] = dict(own)
    if not own:
        for recipe in recipes:
            for name, named in recipe.evaluation.items():
                if sources.setdefault(name, named) != named:
                    raise FacedistillError(
                        f"two recipes call different sets '{name}': give the comparison its own "
                        "evaluation, so that all rows are measured on the same"
                    )
    if recipes and not sources:
        _check_same_validation(recipes)
        sources[VALIDATION] = None
    points = sorted({recipe.student.landmarks or 0 for recipe in recipes})
    if len(points) > 1:
        raise FacedistillError(
            f"these rows find {' and '.join(map(str, points))} landmarks, whose errors do not "
            "compare: give all rows one student.landmarks, or compare them apart"
        )
    tasks = {}
    for name, source in sources.items() if recipes else ():
        if source is not None and finds_landmarks(recipes[0]) and (key := source.for_pairs_only):
            raise FacedistillError(
                f"evaluation.{name}.{key} is for pairs, and these rows find landmarks: leave it out"
            )
        tests = open_tests(recipes[0], source)
        tasks[name] = Task(source, tests, fingerprint(tests, source))
    return tasks


def _check_same_validation(recipes: Sequence[Recipe]) -> None:
    keys = {"train", "relabel", "validation_identities", "validation_images", "validation_pairs"}
    kinds = {each.data.model_dump_json(include=keys) for each in recipes}
    data = recipes[0].data
    if len(kinds) > 1 or not (data.validation_identities or data.validation_images):
        raise FacedistillError(
            "nothing to measure all rows on: give pairs (--pairs lfw.bin, or `evaluation` in the "
            "comparison), or all recipes the same data.train and data.validation_identities"
        )


def _job(trial: Trial, tasks: Mapping[str, Task]) -> Job:
    suited = {name: task for name, task in tasks.items() if task.suits(trial.recipe)}
    return Job(trial, {name: task.source for name, task in suited.items()})


def _is_done(trial: Trial, tasks: Mapping[str, Task]) -> bool:
    crashed = read_error(trial.folder) is not None
    return (
        (trial.folder / SUMMARY).exists()
        and not crashed
        and changed_origin(trial.folder, trial.recipe) is None
        and all((folder / SUMMARY).exists() for folder in trial.after)
        and (not trial.bank or has_bank(trial.folder, tokens=trial.tokens))
        and all(
            read_measurement(trial.folder, name, task.fingerprint)
            for name, task in tasks.items()
            if task.suits(trial.recipe)
        )
    )


def _rows(comparison: Comparison, trials: Sequence[Trial], tasks: Mapping[str, Task]) -> list[Row]:
    rows = []
    for name in comparison.rows:
        mine = [trial for trial in trials if trial.row == name]
        results = [_result(trial, tasks) for trial in mine]
        rows.append(Row(name, mine[0].recipe.to_yaml(), results, *_licences(mine)))
    truths = {name: truth_of(task.tests) for name, task in tasks.items()}
    return assemble(rows, truths, comparison.references)


def _licences(trials: Sequence[Trial]) -> tuple[str | None, str]:
    """Licences of a row's teacher, None without one, and of its data: a bank may know its own."""
    recipe = trials[0].recipe
    about = next(filter(None, (_metadata(trial.folder) for trial in trials)), None)
    teacher = (about.teacher_licence if about else None) or UNKNOWN
    return (teacher if recipe.teacher or recipe.teachers else None), recipe.data.licence


def _metadata(folder: Path) -> ModelMetadata | None:
    """The metadata of a run's weights; None without readable ones."""
    try:
        return load_model(folder / BEST).metadata
    except FacedistillError:
        return None  # The run's own result names what is wrong with them.


def _result(trial: Trial, tasks: Mapping[str, Task]) -> RunResult:
    """What a run has to show; what cannot be read of it is its own crash and no other row's."""
    error, records = read_error(trial.folder), read_metrics(trial.folder / METRICS)
    if error is None:
        try:
            return _read_result(trial, tasks, records)
        except FacedistillError as damage:
            error = str(damage)
    return RunResult(trial.seed, error, records=records)


def _read_result(
    trial: Trial, tasks: Mapping[str, Task], records: Sequence[Mapping[str, Any]]
) -> RunResult:
    found = {
        name: read_measurement(trial.folder, name, task.fingerprint)
        for name, task in tasks.items()
        if task.suits(trial.recipe)
    }
    measured: dict[str, Measured] = {name: each for name, each in found.items() if each}
    network = load_model(trial.folder / BEST)
    return RunResult(
        trial.seed,
        None,
        measured,
        count_parameters(network.backbone),
        count_macs(network.backbone, network.input.size),
        _seconds_per_step(trial.folder / SUMMARY),
        records,
        figures_of(trial.folder),
    )


def _seconds_per_step(path: Path) -> float | None:
    """The median time of a step in a run's summary; None where it has none."""
    try:
        return float(json.loads(read_regular_text(path)).get("seconds_per_step") or 0) or None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FacedistillError(
            f"{path} is damaged ({error}): delete it to measure the finished run again"
        ) from error
