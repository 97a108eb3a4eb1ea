"""From a recipe to a finished run: set the parts up, train, measure once, write it down."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from facedistill.core.atomic import atomic_path
from facedistill.core.process import keep_freed_memory
from facedistill.core.progress import Say, say_nothing
from facedistill.data.loading.loader import Order
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.sample import FaceDataset
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.prompted import PromptedNetwork, save_prompts
from facedistill.engine.accelerator import check_micro_batches, expect_gradients, open_accelerator
from facedistill.engine.loop import Evaluate, Fit, LoopOptions
from facedistill.engine.optimizer import create_optimizer
from facedistill.engine.schedule import Schedule, schedule
from facedistill.engine.signals import stoppable
from facedistill.engine.step import TrainingStep
from facedistill.evaluation.options import EvaluationOptions
from facedistill.experiments.build.student import create_student
from facedistill.experiments.build.teacher import open_teacher
from facedistill.experiments.build.training_data import (
    create_order,
    open_loader,
    open_test_set,
    split_data,
)
from facedistill.experiments.build.training_step import create_training_step
from facedistill.experiments.folder import BEST, PROMPTS, RECIPE, claim
from facedistill.experiments.measurement import TestSet, evaluate_best, protocol_of
from facedistill.experiments.model_saving import saver
from facedistill.experiments.run_card import write_run_card
from facedistill.experiments.run_figures import write_pictures
from facedistill.experiments.summary import Summary, check_owner, read_summary, write_summary
from facedistill.recipe.schema import Recipe


def run(recipe: Recipe, folder: str | Path, say: Say = print) -> Summary:
    """Train what a recipe describes, going on from the folder's checkpoint if there is one.

    A finished run is not repeated: its summary is read. The folder then holds `recipe.yaml`,
    `metrics.jsonl`, `checkpoint.pt`, `last.safetensors`,
    `best.safetensors` (highest accuracy on validation people, or least NME on validation faces),
    `summary.json` and `MODEL_CARD.md`; with `margin_softmax` a class head beside either model
    file, and the pictures and prompts that objectives and teacher leave.

    Args:
        recipe: What to do.
        folder: Where to do it.
        say: Takes a line about what goes on.

    Raises:
        Interrupted: After SIGTERM or Ctrl-C; if steps were made, a checkpoint was saved.
        FacedistillError: If data, teacher, recipe or folder do not fit together.
    """
    folder = Path(folder)
    keep_freed_memory()
    training = recipe.training
    accelerator = open_accelerator(training.device, training.precision, compiled=training.compile)
    if not accelerator.is_main_process:
        say = say_nothing
    with stoppable(folder), _ended(accelerator), _claimed(folder, accelerator):
        check_owner(folder, recipe)
        summary = read_summary(folder, recipe)
        if summary is not None:
            say(f"{recipe.name} is finished, {summary.steps:,} steps: {folder} holds the result")
        else:
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                with atomic_path(folder / RECIPE) as temporary:
                    temporary.write_text(recipe.to_yaml(), "utf-8")
            summary = _run(recipe, folder, accelerator, say)
    return summary


@contextmanager
def _ended(accelerator: Accelerator) -> Iterator[None]:
    """Part from the other processes however the run ends.

    The threads of a process group that is still there when the interpreter goes can abort it.
    """
    try:
        yield
    finally:
        accelerator.end_training()


def _run(recipe: Recipe, folder: Path, accelerator: Accelerator, say: Say) -> Summary:
    faces, validation = split_data(recipe)
    test_sets = {name: open_test_set(recipe, each) for name, each in recipe.evaluation.items()}
    teacher = open_teacher(recipe.teacher, faces, recipe.seed) if recipe.teacher else None
    others = {name: open_teacher(each, faces) for name, each in recipe.teachers.items()}
    _seed(recipe.seed)
    # One process mines for all, which then find its result beside the bank.
    with accelerator.main_process_first():
        student = create_student(recipe.student, say)
        step = create_training_step(recipe, student, faces, teacher, others, accelerator.device)
    fit = _fit(recipe, folder, accelerator, step, faces, validation, teacher, others)
    say(_opening_line(recipe, faces, teacher, fit.options))
    position = fit.run()
    if not accelerator.is_main_process:
        return Summary(folder, folder / BEST, position.step)
    if isinstance(step.teacher, PromptedNetwork):
        save_prompts(step.teacher, folder / PROMPTS)
    mapped_by = others.get(step.taught_by.get("urfm", ""), teacher)
    pictures = write_pictures(folder, step, fit.shipped(), mapped_by, faces)
    for picture in pictures.files:
        say(f"picture: {picture}")
    summary = Summary(
        folder,
        folder / BEST,
        position.step,
        abs(position.best) if validation else None,
        _measure(folder, recipe, test_sets, accelerator.device, say),
        sorted(position.skipped),
        fit.images_per_second,
        fit.seconds_per_step,
        pictures.figures,
    )
    write_run_card(recipe, folder, summary.evaluation)
    write_summary(summary, recipe)
    if summary.skipped:
        say(f"left out {len(summary.skipped)} corrupt images, first: {summary.skipped[0]}")
    return summary


def _fit(
    recipe: Recipe,
    folder: Path,
    accelerator: Accelerator,
    step: TrainingStep,
    faces: FaceDataset,
    validation: TestSet | None,
    teacher: Teacher | None,
    others: Mapping[str, Teacher],
) -> Fit:
    """The loop with all that it goes round with."""
    teachers = [teacher, *others.values()]
    order = create_order(recipe, faces, accelerator)
    training = recipe.training
    check_micro_batches(training.batch_size, training.accumulate, accelerator.num_processes)
    expect_gradients(accelerator, step)
    options = _options(recipe, order, faces.fingerprint)
    return Fit(
        folder,
        accelerator,
        step,
        teacher,
        open_loader(recipe, faces, order, teachers, accelerator),
        _optimizer(recipe, step),
        _factor(recipe, options.steps),
        options,
        _validate_on(validation, accelerator.device, _batch_size(recipe)) if validation else None,
        saver(recipe, folder, teachers, step, faces),
        others,
    )


@contextmanager
def _claimed(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """The main process claims the folder for all of them."""
    with claim(folder) if accelerator.is_main_process else nullcontext():
        yield


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what third-party code may draw from
    torch.manual_seed(seed)


def _options(recipe: Recipe, order: Order, data: str) -> LoopOptions:
    training = recipe.training
    per_epoch = order.steps_per_epoch
    return LoopOptions(
        steps=training.steps or max(1, round(training.epochs * per_epoch)),
        evaluate_every=training.evaluate_steps
        or max(1, round(training.evaluate_every * per_epoch)),
        log_every=training.log_every,
        checkpoint_seconds=60 * training.checkpoint_minutes,
        accumulate=training.accumulate,
        clip=training.clip,
        ema=training.ema,
        compile=training.compile,
        tensorboard=training.tensorboard,
        recipe=recipe.hash,
        data=data,
    )


def _optimizer(recipe: Recipe, step: TrainingStep) -> torch.optim.Optimizer:
    options = recipe.optimizer
    prompts = recipe.teacher.prompts if recipe.teacher else None
    return create_optimizer(
        step,
        options.name,
        options.lr,
        weight_decay=options.weight_decay,
        momentum=options.momentum,
        nesterov=options.nesterov,
        betas=options.betas,
        decay_all=options.decay_all,
        factors={"teacher.": prompts.lr} if prompts else None,
    )


def _factor(recipe: Recipe, steps: int) -> Schedule:
    options = recipe.schedule
    return schedule(
        options.name,
        steps,
        warmup=round(options.warmup * steps),
        final=options.final,
        milestones=options.milestones,
        gamma=options.gamma,
        peak=options.peak,
    )


def _validate_on(held_out: TestSet, device: torch.device, batch_size: int) -> Evaluate:
    """Measure on what was split off, without intervals.

    Args:
        held_out: Pairs, or faces with landmarks.
        device: Where the run computes.
        batch_size: Images a step; what fits training fits without gradients.
    """
    protocol = protocol_of(held_out)
    pairs = isinstance(held_out, PairSet)
    options = EvaluationOptions(
        kfold="exact" if pairs else "insightface",
        resamples=0,
        batch_size=batch_size,
        device=device,
    )
    return lambda network: protocol.evaluate(network, options)


def _batch_size(recipe: Recipe) -> int:
    """Images that a process computes at a time, at least as many as measuring takes anyway."""
    training = recipe.training
    return max(training.batch_size // training.accumulate, EvaluationOptions().batch_size)


def _measure(
    folder: Path, recipe: Recipe, test_sets: dict[str, TestSet], device: torch.device, say: Say
) -> dict[str, Any]:
    """Measure the best weights on the evaluation sets, once, when training is over."""
    evaluations = {
        name: evaluate_best(folder, test_set, recipe.evaluation[name], device)
        for name, test_set in test_sets.items()
    }
    for evaluation in evaluations.values():
        say(evaluation.line())
    return {name: evaluation.to_dict() for name, evaluation in evaluations.items()}


def _opening_line(
    recipe: Recipe, faces: FaceDataset, teacher: Teacher | None, options: LoopOptions
) -> str:
    taught = f", taught by {teacher.name}" if teacher else ""
    people = int(faces.labels.max()) + 1
    kind = (
        f"{len(faces):,} faces of {people:,} people"
        if people
        else f"{len(faces):,} unlabelled faces"
    )
    return f"{recipe.name}: {recipe.student.network} on {kind}{taught}; {options.steps:,} steps"
