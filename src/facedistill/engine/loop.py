"""The training loop."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.progress import Progress, TaskID
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from facedistill.core.errors import FacedistillError, Interrupted, first_line
from facedistill.core.progress import progress_bar
from facedistill.data.batch import Batch
from facedistill.data.loading.loader import Loader
from facedistill.distill.objectives.base import Parts
from facedistill.distill.teachers.base import Teacher
from facedistill.engine.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from facedistill.engine.metrics_log import Averages, MetricsLog
from facedistill.engine.signals import StopRequest, stop_request
from facedistill.engine.step import TrainingStep
from facedistill.evaluation.report import Report
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs

Evaluate = Callable[[FaceNetwork], Report]
"""Measures a network on validation pairs, or on validation faces with landmarks."""

Save = Callable[[FaceNetwork, str, Report | None], None]
"""Writes a model file of the given name that carries what validation says of it."""


@dataclass(frozen=True)
class LoopOptions:
    """How long and how.

    Attributes:
        steps: Optimiser steps of the whole run.
        evaluate_every: Steps between evaluations; the last step is always evaluated.
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
    log_every: int = 20
    checkpoint_seconds: float = 600
    accumulate: int = 1
    clip: float | None = None
    ema: float | None = None
    compile: bool = False
    tensorboard: bool = False
    recipe: str = ""
    data: str = ""


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        best: Highest validation score so far: accuracy, or minus the NME.
        skipped: Places of corrupt samples left out so far.
    """

    step: int = 0
    best: float = float("-inf")
    skipped: set[str] = field(default_factory=set)


class Fit:
    """One training run: student, teacher, data and optimiser brought together.

    Args:
        folder: Where checkpoints and metrics go.
        accelerator: Devices, precision and processes.
        step: Student and objectives.
        teacher: Source of `teacher.*` outputs; None if no objective needs one.
        loader: Batches by step.
        optimizer: Over the parameters of `step`.
        factor: Step -> factor of the learning rate.
        options: Length and ways.
        evaluate: Figures on what was split off for validation; None where nothing was.
        save: Writes a model file.
        others: Further teachers by name.

    Raises:
        FacedistillError: If an objective needs what the teacher does not give.
    """

    def __init__(
        self,
        folder: Path,
        accelerator: Accelerator,
        step: TrainingStep,
        teacher: Teacher | None,
        loader: Loader,
        optimizer: torch.optim.Optimizer,
        factor: Callable[[int], float],
        options: LoopOptions,
        evaluate: Evaluate | None,
        save: Save,
        others: Mapping[str, Teacher] | None = None,
    ) -> None:
        step.check_teacher(teacher)
        self.others = dict(others or {})
        step.check_others(self.others)
        self.folder, self.accelerator, self.teacher = folder, accelerator, teacher
        self.loader, self.factor, self.options = loader, factor, options
        self.evaluate, self.save = evaluate, save
        self.bare_step = step.to(accelerator.device)
        self.needs = step.teacher_needs
        # Evaluation runs on a twin, so that the student in training never changes mode and a
        # compiled one is not compiled again for other batch sizes.
        self.twin = copy.deepcopy(step.student)
        self.average = _average(step.student, options.ema)
        if options.compile:
            step.student.compile()
        prepared = accelerator.prepare(step, optimizer)
        self.step: nn.Module = prepared[0]
        self.optimizer: torch.optim.Optimizer = prepared[1]
        self.base_lr: float = optimizer.param_groups[0]["lr"]
        self.position = Position()
        self.means = Averages()
        self.saved_at = time.monotonic()
        self.images_per_second = 0.0
        self.seconds_per_step = 0.0

    def run(self) -> Position:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            Interrupted: After SIGTERM or SIGINT, with a checkpoint saved.
            FacedistillError: If a loss is not finite, or data is broken.
        """
        self._resume()
        start, steps = self.position.step, self.options.steps
        started = time.monotonic()
        durations: list[float] = []
        images = self.loader.order.batch_size
        log = self._open_log()
        try:
            with stop_request() as stop, progress_bar("images") as progress:
                task = progress.add_task("train", total=steps * images, note="")
                progress.advance(task, start * images)
                ended = time.perf_counter()
                for batch in self.loader.batches(start, steps):
                    self._train(batch)
                    durations.append(time.perf_counter() - ended)
                    self._report(progress, task, log)
                    self._keep(stop)
                    ended = time.perf_counter()
        finally:
            if log:
                log.close()
        seconds = time.monotonic() - started
        self.images_per_second = (steps - start) * images / seconds
        self.seconds_per_step = statistics.median(durations) if durations else 0.0
        return self.position

    def _train(self, batch: Batch) -> None:
        """One optimiser step, its batch in micro-batches that count by their number of images."""
        self.position.skipped.update(batch.skipped)
        done = self.position.step / self.options.steps
        micros = batch.split(self._micro_batches(batch))
        for micro in micros:
            last, share = micro is micros[-1], len(micro) / len(batch)
            micro = micro.to(self.accelerator.device)
            said, others = self._ask(micro)
            with nullcontext() if last else self.accelerator.no_sync(self.step):
                loss, parts = self.step(micro, said, done, others)
                self._guard(loss, parts, micro)
                self.accelerator.backward(loss * share)
            self.means.add({"loss": loss, **parts}, share)
        if self.options.clip is not None:
            norm = self.accelerator.clip_grad_norm_(self.step.parameters(), self.options.clip)
            self._guard_gradient(norm, batch)
        self.bare_step.finish_step(self._gather)
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr() * group.get("lr_factor", 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.bare_step.student)
        self.position.step += 1

    def _micro_batches(self, batch: Batch) -> int:
        """How many, the same on every process: each micro-batch may be one that all gather.

        A process that left out corrupt images may have too few for its share.
        """
        mine = batch.most_parts(self.options.accumulate)
        if self.options.accumulate == 1 or self.accelerator.num_processes == 1:
            return mine
        counts = self.accelerator.gather(torch.tensor([mine], device=self.accelerator.device))
        return int(counts.min())

    def _ask(self, batch: Batch) -> tuple[Outputs, dict[str, Outputs]]:
        """What the teachers say, in the run's precision.

        One that trains is asked in the step, for the gradients.
        """
        with self.accelerator.autocast():
            if self.teacher is None or self.bare_step.teacher is not None:
                said = Outputs()
            else:
                said = self.teacher(batch, self.needs)
            others = {
                name: other(batch, self.bare_step.needs_of(name))
                for name, other in self.others.items()
            }
        return said, others

    def _lr(self) -> float:
        """The learning rate of the step to come: a function of its number, so nothing to resume."""
        return self.base_lr * self.factor(self.position.step)

    def _guard(self, loss: torch.Tensor, parts: Parts, batch: Batch) -> None:
        """Stop at the first loss that is not a number, naming the term and the batch."""
        if torch.isfinite(loss):
            return
        terms = [name for name in self.bare_step.objectives if not _finite(parts.get(name))]
        raise self._not_finite(f"loss of {', '.join(terms) or 'the sum'}", batch)

    def _guard_gradient(self, norm: torch.Tensor, batch: Batch) -> None:
        """Stop at a gradient that is not a number, before it reaches weights and checkpoint."""
        # With fp16 infinite gradients are usual: the scaler leaves such steps out.
        if self.accelerator.scaler is None and not torch.isfinite(norm):
            names = ", ".join(self.bare_step.objectives)
            raise self._not_finite(f"gradient of the sum of {names}", batch)

    def _not_finite(self, what: str, batch: Batch) -> FacedistillError:
        step = self.position.step
        first = batch.keys[0].tobytes().hex() if len(batch.keys) else "none"
        return FacedistillError(
            f"the {what} is not finite at step {step} "
            f"(epoch {step // self.loader.order.steps_per_epoch}, batch with first key {first}): "
            f"lower optimizer.lr (now {self._lr():.3g}), add warm-up, or check "
            "the data; the last checkpoint is from before"
        )

    def _report(self, progress: Progress, task: TaskID, log: MetricsLog | None) -> None:
        step, options = self.position.step, self.options
        progress.advance(task, self.loader.order.batch_size)
        if step % options.log_every == 0 or step == options.steps:
            self.means.share(self._mean)
            means = self.means.take()
            epoch = step / self.loader.order.steps_per_epoch
            if log:
                lr = self.optimizer.param_groups[0]["lr"]
                log.write(step, {"epoch": epoch, "lr": lr, **means})
            progress.update(task, note=f"epoch {epoch:.2f}  loss {means['loss']:.4f}")
        if step % options.evaluate_every == 0 or step == options.steps:
            self._evaluate(log)

    def _evaluate(self, log: MetricsLog | None) -> None:
        """Measure the weights of now and write `last`, and `best` if they are."""
        if self.accelerator.is_main_process:
            self._tell_late_weights()
            student = self.shipped()
            report = self.evaluate(student) if self.evaluate else None
            if log and report:
                figures = {f"validation.{name}": value for name, value in report.figures.items()}
                log.write(self.position.step, figures)
            self.save(student, "last", report)
            # Without validation people the last weights are the best that is known.
            score = report.score if report else float(self.position.step)
            if score > self.position.best:
                self.position.best = score
                self.save(student, "best", report)
        self.accelerator.wait_for_everyone()

    def _tell_late_weights(self) -> None:
        for name in self.bare_step.auto.late:
            warnings.warn(
                f"the automatic weight of {name} is not found yet: no batch so far gave gradients "
                "to compare, by it and by terms whose weights are known. Until one does it counts "
                "for nothing: if that stays so, set its weight to a number",
                stacklevel=2,
            )

    def shipped(self) -> FaceNetwork:
        """Return the network as it would be shipped now: averaged weights where there are such."""
        weights = self.bare_step.student if self.average is None else self.average.module
        self.twin.load_state_dict(weights.state_dict())
        return self.twin.eval()

    def _keep(self, stop: StopRequest) -> None:
        """Save when it is time, when asked to stop, and at the end."""
        due = time.monotonic() - self.saved_at > self.options.checkpoint_seconds
        asked, due = self._any(stop.received, due)
        done = self.position.step == self.options.steps
        if not (asked or due or done):
            return
        self.means.share(self._mean)
        self.position.skipped = set(gather_object(sorted(self.position.skipped)))
        if self.accelerator.is_main_process:
            save_checkpoint(self.folder / CHECKPOINT, self._state())
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()
        if asked and not done:
            raise Interrupted(
                f"stopped at step {self.position.step} of {self.options.steps}, saved in "
                f"{self.folder}: run the same command to go on"
            )

    def _any(self, *mine: bool) -> list[bool]:
        """Whether any process says so, of each question, so that all act at the same step."""
        if self.accelerator.num_processes == 1:
            return list(mine)
        votes = torch.tensor(mine, dtype=torch.float32, device=self.accelerator.device)
        return [bool(vote > 0) for vote in self.accelerator.reduce(votes)]

    def _gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, in the order of the whole batch, of which each has a share."""
        if self.accelerator.num_processes == 1:
            return rows
        counts = self.accelerator.gather(torch.tensor([len(rows)], device=rows.device))
        # A process has fewer rows than another where it left out corrupt images.
        padded = self.accelerator.pad_across_processes(rows)
        shares = self.accelerator.gather(padded).chunk(self.accelerator.num_processes)
        return torch.cat([s[:n] for s, n in zip(shares, counts.tolist(), strict=True)])

    def _mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over all processes."""
        return self.accelerator.reduce(values, "mean")

    def _open_log(self) -> MetricsLog | None:
        if not self.accelerator.is_main_process:
            return None
        return MetricsLog(self.folder, self.position.step, self.options.tensorboard)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "recipe": self.options.recipe,
            "teachers": self._teachers(),
            "data": self.options.data,
            "step": self.position.step,
            "best": self.position.best,
            "skipped": sorted(self.position.skipped),
            "weights": self.bare_step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "means": self.means.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        if torch.cuda.is_available():
            state["random_device"] = torch.cuda.get_rng_state()
        return state

    def _teachers(self) -> list[str]:
        """Fingerprints of the networks that teach, prompts left out."""
        teachers = [self.teacher, *self.others.values()]
        return [teacher.fingerprint for teacher in teachers if teacher is not None]

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if path.exists():
            state = load_checkpoint(path, self.options.recipe)
            origins = {
                "teachers": ("with another teacher", self._teachers()),
                "data": ("on other training data", self.options.data),
            }
            for key, (what, now) in origins.items():
                if state.get(key, now) != now:
                    raise FacedistillError(
                        f"checkpoint {path} is of a run {what}, which was there by the same name: "
                        "bring that back, or delete the checkpoint to start over"
                    )
            try:
                self._restore(state)
            except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
                raise FacedistillError(
                    f"checkpoint {path} does not fit this run ({first_line(error)}): "
                    "delete it to start over"
                ) from error
        if len(set(gather_object([self.position.step]))) > 1:
            raise FacedistillError(
                f"the processes do not all see the checkpoint in {self.folder}: "
                "use a folder that all machines share"
            )

    def _restore(self, state: dict[str, Any]) -> None:
        self.position = Position(int(state["step"]), float(state["best"]), set(state["skipped"]))
        self.bare_step.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.means.load_state_dict(state["means"], self.accelerator.device)
        torch.set_rng_state(state["random"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if torch.cuda.is_available() and "random_device" in state:
            torch.cuda.set_rng_state(state["random_device"])


def _average(student: FaceNetwork, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    average = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    return average.requires_grad_(False)


def _finite(value: torch.Tensor | None) -> bool:
    return value is None or bool(torch.isfinite(value))
