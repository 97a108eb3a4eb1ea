"""The training loop."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.progress import Progress, TaskID
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.progress import progress_bar
from facedistill.core.signals import StopRequest, stop_request
from facedistill.data.batch import Batch
from facedistill.data.loading.loader import Loader
from facedistill.data.loading.worker_processes import WorkerLost
from facedistill.engine.checkpoint import (
    CHECKPOINT,
    Origin,
    Position,
    TrainingState,
    resume,
    save_checkpoint,
)
from facedistill.engine.exchange import any_of, gather_rows, least_of
from facedistill.engine.finite_checks import Place, check_gradient, check_loss
from facedistill.engine.gradient_shares import is_measured, steps_between
from facedistill.engine.metrics_log import MetricsLog
from facedistill.engine.run_teachers import Teachers
from facedistill.engine.schedule import Schedule
from facedistill.engine.shards import clip_gradient, leave_shards_alone, whole_heads
from facedistill.engine.step import TrainingStep
from facedistill.evaluation.report import Report
from facedistill.models.face_network import FaceNetwork


class Host(Protocol):
    """The run that a loop belongs to."""

    @property
    def folder(self) -> Path:
        """Where checkpoints and metrics go."""

    def validate(self, network: FaceNetwork) -> Report | None:
        """Return the figures on what was split off for validation; None where nothing was.

        Their `score` decides which weights are best.
        """

    def save(self, network: FaceNetwork, name: str, report: Report | None) -> None:
        """Write a model file of the given name that carries the figures of its validation."""

    def say(self, line: str, /) -> None:
        """Tell the user how training goes, in a line."""


@dataclass(frozen=True)
class LoopOptions:
    """Length, intervals and ways of training.

    Attributes:
        steps: Optimiser steps of the whole run.
        evaluate_every: Steps between evaluations; the last step is always evaluated.
        schedule: Step -> factor of the learning rate.
        log_every: Steps between records of metrics.jsonl.
        checkpoint_seconds: Time between checkpoints.
        accumulate: Micro-batches per optimiser step.
        clip: Largest norm of the gradient; None leaves it.
        ema: Decay of the averaged weights; None for none.
        compile: Compile the student.
        tensorboard: Write event files.
        recipe: Hash of the recipe, which a checkpoint must carry to be resumed.
        data: Fingerprint of the training data, likewise.
    """

    steps: int
    evaluate_every: int
    schedule: Schedule = lambda step: 1.0
    log_every: int = 20
    checkpoint_seconds: float = 600
    accumulate: int = 1
    clip: float | None = None
    ema: float | None = None
    compile: bool = False
    tensorboard: bool = False
    recipe: str = ""
    data: str = ""


class Fit:
    """Student, teachers, data and optimiser brought together to train.

    Args:
        host: The run: where files go, and what validates.
        accelerator: Devices, precision and processes.
        step: Student and objectives.
        teachers: Sources of `teacher.*` outputs.
        loader: Batches by step.
        optimizer: Over the parameters of `step`.
        options: Length and ways.

    Raises:
        FacedistillError: If an objective needs what the teacher does not give.
    """

    def __init__(
        self,
        host: Host,
        accelerator: Accelerator,
        step: TrainingStep,
        teachers: Teachers,
        loader: Loader,
        optimizer: torch.optim.Optimizer,
        options: LoopOptions,
    ) -> None:
        teachers.check(step)
        self.host, self.accelerator, self.teachers = host, accelerator, teachers
        self.loader, self.options = loader, options
        self.bare_step = step.to(accelerator.device)
        # Evaluation runs on a twin, so that the student in training never changes mode and a
        # compiled one is not compiled again for other batch sizes.
        self.twin = copy.deepcopy(step.student)
        self.average = _average(step.student, options.ema)
        if options.compile:
            step.student.compile()
        leave_shards_alone(step, accelerator)
        prepared = accelerator.prepare(step, optimizer)
        self.step: nn.Module = prepared[0]
        self.optimizer: torch.optim.Optimizer = prepared[1]
        self.base_lr: float = optimizer.param_groups[0]["lr"]
        self.state = TrainingState(self.bare_step, self.optimizer, self.average, accelerator.scaler)
        self.origin = Origin(options.recipe, options.data, teachers.fingerprints)
        self.steps_between_shares = steps_between(len(step.training_terms), options.log_every)
        self.saved_at = time.monotonic()
        self.saved_step: int | None = None
        """The step of the checkpoint in the folder; None without one."""
        self.images_per_second = 0.0
        self.seconds_per_step = 0.0
        self.loss: float | None = None
        """Mean loss of the steps logged last."""

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self.state.position

    def run(self) -> Position:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            Interrupted: After SIGTERM, SIGHUP or SIGINT, with a checkpoint saved.
            WorkerLost: If a loader process was killed, likewise.
            FacedistillError: If a loss is not finite, or data is broken.
        """
        self._resume()
        start, steps = self.position.step, self.options.steps
        started = time.monotonic()
        durations: list[float] = []
        images = self.loader.order.batch_size
        log = self._open_log()
        try:
            with (
                stop_request() as stop,
                progress_bar("images") as progress,
                closing(self.loader.batches(start, steps)) as batches,
            ):
                task = progress.add_task("train", total=steps * images, note="")
                progress.advance(task, start * images)
                ended = time.perf_counter()
                while (batch := self._next(batches, stop)) is not None:
                    self._train(batch)
                    durations.append(time.perf_counter() - ended)
                    self._report(progress, task, log)
                    self._keep(stop)
                    ended = time.perf_counter()
                if stop.received:
                    raise self._interrupted(self._standing())
        finally:
            if log:
                log.close()
        seconds = time.monotonic() - started
        self.images_per_second = (steps - start) * images / seconds
        self.seconds_per_step = statistics.median(durations) if durations else 0.0
        return self.position

    def shipped(self) -> FaceNetwork:
        """Return the network as it would be shipped now: averaged weights where there are such."""
        weights = self.bare_step.student if self.average is None else self.average.module
        self.twin.load_state_dict(weights.state_dict())
        return self.twin.eval()

    def _resume(self) -> None:
        path = self.host.folder / CHECKPOINT
        if resume(path, self.state, self.origin, self.accelerator.device):
            self.saved_step = self.position.step
            self.host.say(f"resumed at step {self.saved_step:,} of {self.options.steps:,}")
        if len(set(gather_object([self.position.step]))) > 1:
            raise FacedistillError(
                f"the processes do not all see the checkpoint in {self.host.folder}: "
                "use a folder that all machines share"
            )

    def _next(self, batches: Iterator[Batch], stop: StopRequest) -> Batch | None:
        """Wait for a batch; None after the last. What ends the wait is preceded by a checkpoint."""
        # Of several processes the others wait in the step: all stop and save together, after it.
        alone = self.accelerator.num_processes == 1
        try:
            with stop.waiting() if alone else nullcontext():
                return next(batches, None)
        except WorkerLost as error:
            standing = self._saved_now() if alone else self._standing()
            raise WorkerLost(f"{error}; {standing}") from None
        except (Interrupted, Exception):
            if not (alone and stop.received):
                raise
            raise self._interrupted(self._saved_now()) from None

    def _train(self, batch: Batch) -> None:
        """One optimiser step, its batch in micro-batches that count by their number of images."""
        self.position.skipped.update(batch.skipped)
        micros = batch.split(self._micro_batches(batch))
        due = is_measured(self.position.step, self.options.steps, self.steps_between_shares)
        for micro in micros:
            self.bare_step.shares_wanted = due and micro is micros[0]
            self._backward(micro, len(micro) / len(batch), last=micro is micros[-1])
        if self.options.clip is not None:
            norm = clip_gradient(self.accelerator, self.bare_step, self.options.clip)
            # With fp16 infinite gradients are usual: the scaler leaves such steps out.
            if self.accelerator.scaler is None:
                check_gradient(norm, self.bare_step.objectives, self._place(batch))
        self.bare_step.finish_step(lambda rows: gather_rows(self.accelerator, rows))
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr() * group.get("lr_factor", 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.bare_step.student)
        self.position.step += 1

    def _backward(self, micro: Batch, share: float, *, last: bool) -> None:
        """Add the gradient of a micro-batch, which counts by its share of the whole batch."""
        micro = micro.to(self.accelerator.device)
        done = self.position.step / self.options.steps
        with self.accelerator.autocast():
            teacher, others = self.teachers.outputs(micro, self.bare_step)
        with nullcontext() if last else self.accelerator.no_sync(self.step):
            loss, parts = self.step(micro, teacher, done, others)
            check_loss(loss, parts, self.bare_step.objectives, self._place(micro))
            self.accelerator.backward(loss * share)
        self.state.means.add({"loss": loss, **parts}, share)

    def _micro_batches(self, batch: Batch) -> int:
        """Return how many micro-batches to cut: the same on every process, as all gather in each.

        A process that left out corrupt images may have too few for its share.
        """
        parts = batch.most_parts(self.options.accumulate)
        return parts if self.options.accumulate == 1 else least_of(self.accelerator, parts)

    def _lr(self) -> float:
        """The learning rate of the step to come: a function of its number, so nothing to resume."""
        return self.base_lr * self.options.schedule(self.position.step)

    def _place(self, batch: Batch) -> Place:
        epoch = self.position.step // self.loader.order.steps_per_epoch
        return Place(self.position.step, epoch, self._lr(), batch, self.saved_step)

    def _report(self, progress: Progress, task: TaskID, log: MetricsLog | None) -> None:
        step, options = self.position.step, self.options
        progress.advance(task, self.loader.order.batch_size)
        if step % options.log_every == 0 or step == options.steps:
            self.state.means.share(self._mean)
            means = self.state.means.take()
            self.loss = means["loss"]
            epoch = step / self.loader.order.steps_per_epoch
            if log:
                lr = self.optimizer.param_groups[0]["lr"]
                log.write(step, {"epoch": epoch, "lr": lr, **means})
            progress.update(task, note=f"epoch {epoch:.2f}  loss {means['loss']:.4f}")
        if step % options.evaluate_every == 0 or step == options.steps:
            self._evaluate(log)

    def _evaluate(self, log: MetricsLog | None) -> None:
        """Measure the weights of now and write `last`, and `best` if they are."""
        with whole_heads(self.bare_step):
            if self.accelerator.is_main_process:
                self._validate_and_write(log)
        self.accelerator.wait_for_everyone()

    def _validate_and_write(self, log: MetricsLog | None) -> None:
        _warn_of_late_weights(self.bare_step)
        student = self.shipped()
        report = self.host.validate(student)
        if log and report:
            figures = {f"validation.{name}": value for name, value in report.figures.items()}
            log.write(self.position.step, figures)
        self.host.save(student, "last", report)
        # Without validation the last weights are the best that is known.
        score = report.score if report else float(self.position.step)
        better = score > self.position.best
        if better:
            self.position.best = score
            self.host.save(student, "best", report)
        self.host.say(self._evaluated(report, better))

    def _evaluated(self, report: Report | None, better: bool) -> str:
        """One line on an evaluation, for whoever reads along."""
        parts = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        if report and report.figures:
            name, value = next(iter(report.figures.items()))
            known = "best so far" if better else f"best {100 * abs(self.position.best):.2f} %"
            parts.append(f"validation {name} {100 * value:.2f} % ({known})")
        step = f"step {self.position.step:,} of {self.options.steps:,}"
        return f"{step}: {', '.join(parts)}" if parts else step

    def _keep(self, stop: StopRequest) -> None:
        """Save when it is time, when asked to stop, and at the end."""
        due = time.monotonic() - self.saved_at > self.options.checkpoint_seconds
        asked, due = any_of(self.accelerator, stop.received, due)
        if asked or due or self.position.step == self.options.steps:
            self._save()
        if asked:
            raise self._interrupted(self._saved_now())

    def _save(self) -> None:
        """Write a checkpoint, all processes together."""
        self.state.means.share(self._mean)
        self.position.skipped = set(gather_object(sorted(self.position.skipped)))
        state = self.origin.state_dict() | self.state.state_dict()
        if self.accelerator.is_main_process:
            save_checkpoint(self.host.folder / CHECKPOINT, state)
        self.accelerator.wait_for_everyone()
        self.saved_at, self.saved_step = time.monotonic(), self.position.step

    def _saved_now(self) -> str:
        """Save the steps that no checkpoint has; return what there is to go on from."""
        if self.position.step and self.saved_step != self.position.step:
            self._save()
        return self._standing()

    def _standing(self) -> str:
        if self.saved_step is None:
            return f"no step is saved in {self.host.folder} yet"
        return f"step {self.saved_step:,} is saved in {self.host.folder}"

    def _interrupted(self, saved: str) -> Interrupted:
        return Interrupted(
            f"stopped at step {self.position.step:,} of {self.options.steps:,}, {saved}: run the "
            "same command to go on"
        )

    def _mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over all processes."""
        return self.accelerator.reduce(values, "mean")

    def _open_log(self) -> MetricsLog | None:
        if not self.accelerator.is_main_process:
            return None
        return MetricsLog(self.host.folder, self.position.step, self.options.tensorboard)


def _average(student: FaceNetwork, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    return average.requires_grad_(False)


def _warn_of_late_weights(step: TrainingStep) -> None:
    for name in step.auto.late:
        warnings.warn(
            f"the automatic weight of {name} is not found yet: no batch so far gave gradients "
            "to compare, by it and by terms whose weights are known. Until one does it counts "
            "for nothing: if that stays so, set its weight to a number",
            stacklevel=2,
        )
