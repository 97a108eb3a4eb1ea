"""The runs of a comparison: what is missing, one process per device, each measured when it ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from facedistill.atomic import atomic_path
from facedistill.comparison import Comparison, Trial, plan
from facedistill.data.pairs import PairSet, open_pairs
from facedistill.errors import FacedistillError, Interrupted
from facedistill.evaluation.rows import Measured, Row, RunResult, assemble
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.model_file import load_model
from facedistill.progress import progress_bar
from facedistill.recipe import PairsRecipe, Recipe
from facedistill.training.folder import BEST, METRICS, SUMMARY
from facedistill.training.interrupt import stop_request
from facedistill.training.measurement import (
    measure,
    pairs_fingerprint,
    read_measurement,
    truth_of,
)
from facedistill.training.metrics import read_metrics
from facedistill.training.run import Say, check_owner, run, split_data

VALIDATION = "validation people"
"""Name of the pairs where nobody names any: they chose the weights too."""

ERROR = "error.json"
LOG = "log.txt"

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class PairTask:
    """Pairs that every row is measured on.

    Attributes:
        recipe: Where they are and what is drawn on them; None for the validation people of a run.
        pairs: The pairs.
        fingerprint: Hash of both.
    """

    recipe: PairsRecipe | None
    pairs: PairSet
    fingerprint: str


def run_comparison(
    comparison: Comparison, out: str | Path, *, jobs: int | None = None, say: Say = print
) -> list[Row]:
    """Run what is missing of a comparison, and measure all rows on the same pairs.

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
        Interrupted: After SIGTERM or Ctrl-C; every run has saved a checkpoint.
        FacedistillError: If recipes are unusable, or folders hold other runs.
    """
    out = Path(out)
    trials = plan(comparison, out)
    for trial in trials:
        check_owner(trial.folder, trial.recipe)
    tasks = open_tasks(comparison, trials)
    missing = [trial for trial in trials if not _is_done(trial, tasks)]
    say(f"{comparison.name}: {len(trials)} runs, {len(trials) - len(missing)} are finished")
    recipes = {name: task.recipe for name, task in tasks.items()}
    if jobs == 0:
        _run_here(missing, recipes, say)
    else:
        _run_apart(missing, recipes, jobs, say)
    return _rows(comparison, trials, tasks)


def open_tasks(comparison: Comparison, trials: Sequence[Trial]) -> dict[str, PairTask]:
    """Open the pairs of a comparison: its own, or those of its recipes, or the validation people.

    Raises:
        FacedistillError: If two recipes give different pairs one name, or none gives any and they
            do not share their validation people.
    """
    recipes = dict(comparison.evaluation)
    if not recipes:
        for trial in trials:
            for name, pairs in trial.recipe.evaluation.items():
                if recipes.setdefault(name, pairs) != pairs:
                    raise FacedistillError(
                        f"two recipes name different pairs '{name}': give the comparison its own "
                        "evaluation, so that all rows are measured on the same"
                    )
    if not recipes:
        return {VALIDATION: _validation_task([trial.recipe for trial in trials])}
    opened = {name: open_pairs(each.pairs) for name, each in recipes.items()}
    return {
        name: PairTask(each, opened[name], pairs_fingerprint(opened[name], each))
        for name, each in recipes.items()
    }


def _validation_task(recipes: Sequence[Recipe]) -> PairTask:
    shared = {
        (each.data.train, each.data.validation_identities, each.data.validation_pairs)
        for each in recipes
    }
    if len(shared) > 1 or not recipes[0].data.validation_identities:
        raise FacedistillError(
            "nothing to measure all rows on: give pairs (--pairs lfw.bin, or `evaluation` in the "
            "comparison), or all recipes the same data.train and data.validation_identities"
        )
    pairs = split_data(recipes[0])[1]
    if pairs is None:
        raise FacedistillError(f"{recipes[0].data.train} has no labels: give pairs to measure on")
    return PairTask(None, pairs, pairs_fingerprint(pairs, None))


def _is_done(trial: Trial, tasks: Mapping[str, PairTask]) -> bool:
    return (trial.folder / SUMMARY).exists() and all(
        read_measurement(trial.folder, name, task.fingerprint) for name, task in tasks.items()
    )


def _run_here(trials: Sequence[Trial], recipes: Mapping[str, PairsRecipe | None], say: Say) -> None:
    for trial in trials:
        blocked = _blocked_by(trial)
        if blocked is not None:
            _note_error(trial.folder, f"needs {blocked}, which has no result")
        else:
            _attempt(trial, recipes, say)
        say(f"{trial.title}: {_read_error(trial.folder) or 'done'}")


def _run_apart(
    trials: Sequence[Trial],
    recipes: Mapping[str, PairsRecipe | None],
    jobs: int | None,
    say: Say,
) -> None:
    """Keep every device busy with one process, until nothing is left that can run."""
    devices = torch.cuda.device_count()
    jobs = jobs or max(1, devices)
    threads = max(1, torch.get_num_threads() // jobs)
    free, waiting = list(range(jobs)), list(trials)
    running: dict[int, tuple[Trial, SpawnProcess]] = {}
    with stop_request() as stop, progress_bar("runs") as progress:
        bar = progress.add_task("compare", total=len(trials), note="")
        while waiting or running:
            for trial in _ready(waiting, running):
                if not free:
                    break
                waiting.remove(trial)
                blocked = _blocked_by(trial)
                if blocked is not None:
                    _note_error(trial.folder, f"needs {blocked}, which has no result")
                    say(f"{trial.title}: {_read_error(trial.folder)}")
                    progress.advance(bar)
                    continue
                slot = free.pop(0)
                running[slot] = (
                    trial,
                    _start(trial, recipes, threads, slot % devices if devices else None),
                )
            if running:
                wait([process.sentinel for _, process in running.values()], _SECONDS_BETWEEN_LOOKS)
            progress.update(bar, note=", ".join(_where(trial) for trial, _ in running.values()))
            if stop.received:
                _stop([process for _, process in running.values()])
                raise Interrupted("stopped, every run is saved: run the same command to go on")
            for slot, (trial, process) in list(running.items()):
                if process.is_alive():
                    continue
                process.join()
                del running[slot]
                free.append(slot)
                if process.exitcode == Interrupted.exit_code:
                    _stop([process for _, process in running.values()])
                    raise Interrupted(f"{trial.title} was stopped: run the same command to go on")
                if process.exitcode:
                    _note_death(trial.folder, process.exitcode)
                say(f"{trial.title}: {_read_error(trial.folder) or 'done'}")
                progress.advance(bar)


def _ready(
    waiting: Sequence[Trial], running: Mapping[int, tuple[Trial, SpawnProcess]]
) -> list[Trial]:
    """Runs that wait for none that is still to come."""
    ahead = {trial.folder for trial in waiting} | {trial.folder for trial, _ in running.values()}
    return [trial for trial in waiting if not ahead.intersection(trial.after)]


def _blocked_by(trial: Trial) -> Path | None:
    return next((folder for folder in trial.after if not (folder / SUMMARY).exists()), None)


def _start(
    trial: Trial, recipes: Mapping[str, PairsRecipe | None], threads: int, device: int | None
) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(
        target=_child, args=(trial, dict(recipes), threads), name=trial.title
    )
    with _visible(device):
        process.start()
    return process


@contextmanager
def _visible(device: int | None) -> Iterator[None]:
    """Let the processes started meanwhile see one accelerator alone."""
    if device is None:
        yield
        return
    key = "CUDA_VISIBLE_DEVICES"
    before = os.environ.get(key)
    os.environ[key] = before.split(",")[device] if before else str(device)
    try:
        yield
    finally:
        os.environ.pop(key)
        if before is not None:
            os.environ[key] = before


def _child(trial: Trial, recipes: Mapping[str, PairsRecipe | None], threads: int) -> None:
    """A process of one run: its words go to the run's log."""
    _stop_with_parent()
    torch.set_num_threads(threads)
    trial.folder.mkdir(parents=True, exist_ok=True)
    with (trial.folder / LOG).open("a", buffering=1, encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            _attempt(trial, recipes, lambda line: print(line, flush=True))
        except Interrupted as stop:
            print(stop, flush=True)
            sys.exit(stop.exit_code)


def _stop_with_parent() -> None:
    """Save and stop when the parent dies without a word."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def _attempt(trial: Trial, recipes: Mapping[str, PairsRecipe | None], say: Say) -> None:
    """Run and measure; what goes wrong is written down and nobody else's concern."""
    (trial.folder / ERROR).unlink(missing_ok=True)
    try:
        run(trial.recipe, trial.folder, say)
        device = torch.device("cuda" if _on_accelerator(trial.recipe) else "cpu")
        for name, each in recipes.items():
            measure(trial.folder, name, _pairs(trial.recipe, each), each, device)
    except Interrupted:
        raise
    except FacedistillError as error:
        _note_error(trial.folder, str(error))
    except Exception as error:
        _note_error(trial.folder, f"{type(error).__name__}: {error}", traceback.format_exc())


def _pairs(recipe: Recipe, pairs: PairsRecipe | None) -> PairSet:
    opened = open_pairs(pairs.pairs) if pairs else split_data(recipe)[1]
    assert opened is not None
    return opened


def _on_accelerator(recipe: Recipe) -> bool:
    return recipe.training.device != "cpu" and torch.cuda.is_available()


def _where(trial: Trial) -> str:
    records = read_metrics(trial.folder / METRICS)
    return f"{trial.title} at step {records[-1]['step']:,}" if records else trial.title


def _stop(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _note_death(folder: Path, code: int) -> None:
    """Write down a process that could not do so itself."""
    if code < 0:
        name = signal.Signals(-code).name
        memory = ", as the system does to who takes too much memory" if code == -9 else ""
        _note_error(folder, f"its process was ended by {name}{memory}")
    elif _read_error(folder) is None:
        _note_error(folder, f"its process ended with code {code}: see {folder / LOG}")


def _note_error(folder: Path, line: str, trace: str = "") -> None:
    with atomic_path(folder / ERROR) as temporary:
        document = {"error": " ".join(line.split()), "traceback": trace}
        temporary.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _read_error(folder: Path) -> str | None:
    path = folder / ERROR
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text("utf-8"))["error"])
    except (ValueError, KeyError, TypeError):
        return "an error, of which the record is damaged"


def _rows(
    comparison: Comparison, trials: Sequence[Trial], tasks: Mapping[str, PairTask]
) -> list[Row]:
    rows = []
    for name in comparison.rows:
        mine = [trial for trial in trials if trial.row == name]
        recipe = mine[0].recipe
        rows.append(
            Row(
                name,
                recipe.to_yaml(),
                [_result(trial, tasks) for trial in mine],
                recipe.teacher.licence if recipe.teacher else None,
                recipe.data.licence,
            )
        )
    truths = {name: truth_of(task.pairs) for name, task in tasks.items()}
    return assemble(rows, truths, comparison.references)


def _result(trial: Trial, tasks: Mapping[str, PairTask]) -> RunResult:
    error = _read_error(trial.folder)
    records = read_metrics(trial.folder / METRICS)
    if error is not None:
        return RunResult(trial.seed, error, records=records)
    summary: dict[str, Any] = json.loads((trial.folder / SUMMARY).read_text("utf-8"))
    # What is no set of pairs was measured by the run itself.
    measured = {
        name: Measured(report)
        for name, report in summary["evaluation"].items()
        if name not in tasks
    }
    for name, task in tasks.items():
        found = read_measurement(trial.folder, name, task.fingerprint)
        if found is not None:
            measured[name] = found
    network = load_model(trial.folder / BEST)
    return RunResult(
        trial.seed,
        None,
        measured,
        count_parameters(network.backbone),
        count_macs(network.backbone, network.input.size),
        summary.get("seconds_per_step") or None,
        records,
    )
