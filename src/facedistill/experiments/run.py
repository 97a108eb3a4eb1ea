"""From a recipe to a finished run: set the parts up, train, measure once, write it down."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from facedistill.core.process import keep_freed_memory
from facedistill.core.progress import Say, say_nothing
from facedistill.core.signals import stoppable
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import warn_of_one_identity
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.objectives.base import Objective
from facedistill.engine.accelerator import check_micro_batches, expect_gradients, open_accelerator
from facedistill.engine.gradient_shares import last_shares
from facedistill.engine.loop import Fit
from facedistill.engine.metrics_log import METRICS, read_metrics
from facedistill.engine.run_teachers import Teachers
from facedistill.engine.step import TrainingStep
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.report import Report
from facedistill.experiments.build.loop_options import loop_options, recipe_optimizer
from facedistill.experiments.build.student import create_student
from facedistill.experiments.build.teacher import open_teacher
from facedistill.experiments.build.teacher_stages import run_teacher_stages
from facedistill.experiments.build.training_data import (
    check_identities,
    create_order,
    open_loader,
    open_test_set,
    split_data,
)
from facedistill.experiments.build.training_step import create_training_step
from facedistill.experiments.folder import claim
from facedistill.experiments.measurement import evaluate_best, protocol_of
from facedistill.experiments.ownership import begun, check_owner, standing
from facedistill.experiments.run_card import write_run_card
from facedistill.experiments.run_figures import write_figures, write_share_figure
from facedistill.experiments.run_health import run_health
from facedistill.experiments.run_metadata import run_metadata
from facedistill.experiments.summary import Summary, read_summary, write_summary
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.files.run_weights import BEST
from facedistill.recipe.schema import Recipe
from facedistill.report.documents.validation_outcome import outcome_lines


def run(recipe: Recipe, folder: str | Path, say: Say = print) -> Summary:
    """Train what a recipe describes, going on from the folder's checkpoint if there is one.

    A finished run is not repeated: its summary is read. The folder then holds `recipe.yaml`,
    `metrics.jsonl`, `checkpoint.pt`, `last.safetensors`,
    `best.safetensors` (highest accuracy on validation identities, or least NME on validation
    faces), `summary.json` and `MODEL_CARD.md`; beside either model file the class head of an
    objective that has one, and the figures and prompts that objectives and teacher leave.

    Args:
        recipe: What to do.
        folder: Where to do it.
        say: Takes a line about what goes on.

    Raises:
        Interrupted: After SIGTERM, SIGHUP or Ctrl-C; if steps were made, a checkpoint was saved.
        FacedistillError: If data, teacher, recipe or folder do not fit together.
    """
    folder, training = Path(folder), recipe.training
    keep_freed_memory()
    accelerator = open_accelerator(training.device, training.precision, compiled=training.compile)
    if not accelerator.is_main_process:
        say = say_nothing
    with (
        stoppable(lambda: f"stopped outside of training, {standing(folder)}"),
        _ended(accelerator),
        _claimed(folder, accelerator),
    ):
        check_owner(folder, recipe)
        summary = read_summary(folder, recipe)
        if summary is not None:
            done = f"{summary.steps:,} steps"
            if summary.validation is not None:
                done += f", validation {100 * summary.validation:.2f} %"
            say(f"{recipe.name} is finished, {done}: {folder} holds the result")
            return summary
        accelerator.wait_for_everyone()
        made = Run(recipe, folder, accelerator, say)
        with begun(recipe, folder) if accelerator.is_main_process else nullcontext():
            return made.finish()


class Run:
    """A recipe at work in its folder; the training loop asks it to validate and to save.

    Args:
        recipe: What to do.
        folder: Where to do it.
        accelerator: Devices, precision and processes.
        say: Takes a line about what goes on.

    Raises:
        FacedistillError: If data, teachers and recipe do not fit together.
    """

    def __init__(self, recipe: Recipe, folder: Path, accelerator: Accelerator, say: Say) -> None:
        self.recipe, self.folder, self.accelerator, self.say = recipe, folder, accelerator, say
        training = recipe.training
        self.faces, self.validation = split_data(recipe)
        if recipe.student.landmarks is None:
            warn_of_one_identity(self.faces.labels, self.faces.name)
        self.test_sets = {
            name: open_test_set(recipe, each) for name, each in recipe.evaluation.items()
        }
        self.step, self.teachers = self._train_and_teach()
        check_identities(self.faces, dict(self.step.objectives.items()))
        order = create_order(recipe, self.faces, accelerator)
        check_micro_batches(order.batch_size, training.accumulate, accelerator.num_processes)
        expect_gradients(accelerator, self.step)
        self.options = loop_options(recipe, order, self.faces.fingerprint)
        self.best: Report | None = None
        """Figures of the best weights, where this session found them."""
        teachers = [self.teachers.own, *self.teachers.others.values()]
        self.metadata = run_metadata(
            recipe, teachers, self.faces, self.step.student.metadata.trained_on
        )
        self.fit = Fit(
            self,
            accelerator,
            self.step,
            self.teachers,
            open_loader(recipe, self.faces, order, teachers, accelerator),
            recipe_optimizer(recipe, self.step),
            self.options,
        )

    def finish(self) -> Summary:
        """Train to the end, then measure the best weights, and write down what came out."""
        self.say(self._opening_line())
        position = self.fit.run()
        if not self.accelerator.is_main_process:
            return Summary(self.folder, self.folder / BEST, position.step)
        teachers = self.teachers
        if teachers.own:
            teachers.own.save(self.folder)
        figures = write_figures(
            self.folder, self.step, self.fit.shipped(), teachers.own, teachers.others, self.faces
        )
        records = read_metrics(self.folder / METRICS)
        for figure in [*figures.files, *write_share_figure(self.folder, records)]:
            self.say(f"figure: {figure}")
        shares = last_shares(records)
        if len(shares) > 1:
            self.say(f"shares of the gradient: {_shares_line(shares)}")
        device = self.accelerator.device
        health = run_health(self.folder, self.validation, self.faces, device, self.say)
        summary = Summary(
            self.folder,
            self.folder / BEST,
            position.step,
            abs(position.best) if self.validation else None,
            self.measure(),
            sorted(position.skipped),
            self.fit.images_per_second,
            self.fit.seconds_per_step,
            figures.numbers,
            shares,
            health,
        )
        write_run_card(self.recipe, self.folder, summary.evaluation)
        write_summary(summary, self.recipe)
        if summary.skipped:
            self.say(f"left out {len(summary.skipped)} corrupt images, first: {summary.skipped[0]}")
        self._say_outcome(records)
        return summary

    def validate(self, network: FaceNetwork) -> Report | None:
        """Return the figures on what was split off for validation; None where nothing was."""
        if self.validation is None:
            return None
        options = EvaluationOptions(
            kfold="exact" if isinstance(self.validation, PairSet) else "insightface",
            resamples=0,
            batch_size=self._validation_batch(),
            device=self.accelerator.device,
        )
        return protocol_of(self.validation).evaluate(network, options)

    def save(self, network: FaceNetwork, name: str, report: Report | None) -> None:
        """Write a model file of the given name, and what objectives leave beside it."""
        if name == "best":
            self.best = report
        path = self.folder / f"{name}.safetensors"
        metadata = self.metadata
        if report:
            metrics = {f"validation.{key}": value for key, value in report.figures.items()}
            validated = {"metrics": metrics, "thresholds": dict(report.thresholds)}
            metadata = ModelMetadata(**{**dict(metadata), **validated})
        save_model(network, path, metadata=metadata)
        for objective in self.step.objectives.values():
            assert isinstance(objective, Objective)
            for artifact in objective.artifacts():
                artifact.save(path, network)

    def measure(self) -> dict[str, Any]:
        """Measure the best weights on the evaluation sets, once, when training is over."""
        evaluations = {
            name: evaluate_best(
                self.folder, test_set, self.recipe.evaluation[name], self.accelerator.device
            )
            for name, test_set in self.test_sets.items()
        }
        for evaluation in evaluations.values():
            self.say(evaluation.line())
        return {name: evaluation.to_dict() for name, evaluation in evaluations.items()}

    def _say_outcome(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Say what the best weights do on what was split off, beside the teacher."""
        if self.validation is None:
            return
        device = self.accelerator.device
        report = self.best or self.validate(load_model(self.folder / BEST).to(device))
        assert report is not None
        for line in outcome_lines(report, self.validation, self.teachers.own, records):
            self.say(line)

    def _validation_batch(self) -> int:
        """Images at a time: what fits training fits without gradients."""
        training, processes = self.recipe.training, self.accelerator.num_processes
        trained = training.batch_size // (training.accumulate * processes)
        return max(trained, EvaluationOptions().batch_size)

    def _train_and_teach(self) -> tuple[TrainingStep, Teachers]:
        """The student's step, and the teachers, one of which may train too."""
        recipe, faces = self.recipe, self.faces
        device = self.accelerator.device
        own = open_teacher(recipe.teacher, faces, recipe.seed, device) if recipe.teacher else None
        others = {
            name: open_teacher(each, faces, device=device) for name, each in recipe.teachers.items()
        }
        _seed(recipe.seed)
        # One process mines for all, which then find its result beside the bank.
        with self.accelerator.main_process_first():
            student = create_student(recipe.student, self.say)
            step, own, others = create_training_step(recipe, student, faces, own, others, device)
            with _undrawn():
                run_teacher_stages(
                    recipe, step.named_objectives, {None: own} | others, faces, device, self.say
                )
        return step, Teachers(own, others)

    def _opening_line(self) -> str:
        recipe, own = self.recipe, self.teachers.own
        teacher = f", distilled from {own.name}" if own else ""
        marked = recipe.student.landmarks is not None
        faces = f"{recipe.student.network} on {_faces_line(self.faces, marked)}"
        return f"{recipe.name}: {faces}{teacher}; {self._length_text()}"

    def _length_text(self) -> str:
        """Return how long it trains, and what `epochs: auto` came to."""
        training, steps = self.recipe.training, self.options.steps
        if training.steps or training.epochs != "auto":
            return f"{steps:,} steps"
        epochs = steps / self.fit.loader.order.steps_per_epoch
        return f"{steps:,} steps ({epochs:,.0f} epochs, by training.epochs: auto)"


@contextmanager
def _ended(accelerator: Accelerator) -> Iterator[None]:
    """Part from the other processes however the run ends.

    The threads of a process group that is still there when the interpreter goes can abort it.
    """
    try:
        yield
    finally:
        accelerator.end_training()


@contextmanager
def _claimed(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """The main process claims the folder for all of them."""
    with claim(folder) if accelerator.is_main_process else nullcontext():
        yield


@contextmanager
def _undrawn() -> Iterator[None]:
    """Leave random numbers as they were: a run is the same whether a stage trains or is found."""
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        yield


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what third-party code may draw from
    torch.manual_seed(seed)


def _shares_line(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())


def _faces_line(faces: FaceDataset, marked: bool) -> str:
    identities = int(faces.labels.max()) + 1
    if not identities:
        return f"{len(faces):,} {'faces with landmarks' if marked else 'unlabelled faces'}"
    return f"{len(faces):,} faces of {identities:,} identities"
