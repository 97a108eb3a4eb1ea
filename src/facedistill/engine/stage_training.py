"""Training of what an objective learns from the teacher alone, before a student is there."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.progress import progress_bar
from facedistill.core.signals import StopRequest, stop_request
from facedistill.data.batch import Batch
from facedistill.data.loading.loader import Loader
from facedistill.distill.objectives.teacher_stage import StageOrigin, TeacherStage, save_stage
from facedistill.distill.teachers.base import Teacher
from facedistill.engine.checkpoint import Origin, TrainingState, resume, save_checkpoint
from facedistill.engine.optimizer import create_optimizer
from facedistill.engine.schedule import create_schedule

CLIP = 5.0
"""Largest gradient norm."""

_SHARE_SHOWN = 0.1
"""The figures of a stage are means over this share of its steps, the last ones."""


@dataclass(frozen=True)
class StageFiles:
    """Where a stage keeps what it learns.

    Attributes:
        result: The file of `save_stage`.
        checkpoint_seconds: Time between checkpoints, which lie beside it while it trains.
    """

    result: Path
    checkpoint_seconds: float = 600

    @property
    def checkpoint(self) -> Path:
        """The checkpoint."""
        return self.result.with_suffix(".checkpoint.pt")


class StageTraining:
    """The training of a stage, from its checkpoint if there is one.

    The order of images and the weights depend on the stage's seed alone, so that a stage that was
    cut off ends as if it had not been, bit for bit on a CPU. A file that cannot be written is
    warned of; the stage has learned all the same.

    Args:
        stage: Of which all parameters train.
        teacher: Gives what it needs, without gradient.
        loader: Batches by step.
        origin: What it learns from.
        files: Where it keeps what it learns.
        device: Where to train.

    Raises:
        FacedistillError: If the teacher does not give what the stage needs.
    """

    def __init__(
        self,
        stage: TeacherStage,
        teacher: Teacher,
        loader: Loader,
        origin: StageOrigin,
        files: StageFiles,
        device: torch.device,
    ) -> None:
        teacher.check(stage.needs)
        self.stage, self.teacher, self.loader = stage.to(device), teacher, loader
        self.origin, self.files, self.device = origin, files, device
        self.steps = max(1, round(stage.length.epochs * loader.order.steps_per_epoch))
        self.schedule = create_schedule("one_cycle", self.steps)
        optimizer = create_optimizer(stage, "adamw", stage.length.lr, weight_decay=0.01)
        self.state = TrainingState(stage, optimizer)
        self.owner = Origin(stage.key(origin), origin.faces, [origin.teacher])
        self.saved_at = time.monotonic()

    def run(self) -> dict[str, float]:
        """Train the stage to its end, and write its file.

        Returns:
            Means of the loss and its parts over the last tenth.

        Raises:
            Interrupted: After a signal, with a checkpoint saved.
            FacedistillError: If the loss is not finite.
        """
        resume(self.files.checkpoint, self.state, self.owner, self.device)
        images, start = self.loader.order.batch_size, self.state.position.step
        with (
            stop_request() as stop,
            progress_bar("images") as progress,
            closing(self.loader.batches(start, self.steps)) as batches,
        ):
            task = progress.add_task(self.stage.noun, total=self.steps * images, note="")
            progress.advance(task, start * images)
            for batch in batches:
                self._train(batch.to(self.device))
                progress.advance(task, images)
                self._keep(stop)
        return self._finish()

    def _train(self, batch: Batch) -> None:
        """One optimiser step."""
        step = self.state.position.step
        outputs = self.teacher(batch, self.stage.needs)
        loss, parts = self.stage(outputs, batch)
        if not bool(torch.isfinite(loss)):
            raise FacedistillError(
                f"the loss of the {self.stage.noun} is not finite at step {step:,}: lower its "
                "learning rate, or check the teacher's weights and input"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.stage.parameters(), CLIP)
        for group in self.state.optimizer.param_groups:
            group["lr"] = self.stage.length.lr * self.schedule(step)
        self.state.optimizer.step()
        self.state.optimizer.zero_grad(set_to_none=True)
        if step >= (1 - _SHARE_SHOWN) * self.steps or step == self.steps - 1:
            self.state.means.add({"loss": loss, **parts})
        self.state.position.step += 1

    def _keep(self, stop: StopRequest) -> None:
        """Save when it is time, and when asked to stop."""
        due = time.monotonic() - self.saved_at > self.files.checkpoint_seconds
        if stop.received or due:
            state = self.owner.state_dict() | self.state.state_dict()
            kept = self._write(lambda: save_checkpoint(self.files.checkpoint, state))
            self.saved_at = time.monotonic()
            if stop.received:
                where = f"saved in {self.files.checkpoint}" if kept else "nothing of it saved"
                raise Interrupted(
                    f"stopped at step {self.state.position.step:,} of {self.steps:,} of the "
                    f"{self.stage.noun}, {where}: run the same command to go on"
                )

    def _finish(self) -> dict[str, float]:
        figures = self.state.means.take()
        self._write(lambda: save_stage(self.stage, self.files.result, self.origin, figures))
        with suppress(OSError):
            self.files.checkpoint.unlink()
        return figures

    def _write(self, write: Callable[[], None]) -> bool:
        try:
            write()
            return True
        except FacedistillError as error:
            warnings.warn(
                f"the {self.stage.noun} is not kept, to be learned anew by the next run: {error}",
                stacklevel=2,
            )
            return False
