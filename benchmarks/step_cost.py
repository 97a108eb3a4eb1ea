"""Times of one training step with each of several sets of objectives, taken in turn."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

from facedistill.data.batch import Batch
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.engine.optimizer import create_optimizer
from facedistill.engine.step import TrainingStep
from facedistill.engine.weights import Weight
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs

Terms = Mapping[str, Mapping[str, object]]
"""Objectives and their arguments."""

WARM_UP = 3
"""Steps that are not counted."""


def options_of(description: str, identities: int, batch_size: int) -> argparse.ArgumentParser:
    """Return a parser of the options that all these benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--identities", type=int, default=identities)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="train under autocast")
    return parser


def training_step(
    student: FaceNetwork, terms: Terms, context: RunContext, teacher: TrainableTeacher | None = None
) -> TrainingStep:
    objectives = {name: create_objective(name, context, **more) for name, more in terms.items()}
    return TrainingStep(student, objectives, {name: Weight() for name in terms}, teacher=teacher)


class Trainer:
    """One step after the other: teacher, forward, loss, backward, memories, optimiser."""

    def __init__(
        self, step: TrainingStep, teach: Callable[[Batch], Outputs], options: argparse.Namespace
    ) -> None:
        self.device, self.bf16 = torch.device(options.device), options.bf16
        self.step, self.teach = step.to(self.device).train(), teach
        self.optimizer = create_optimizer(self.step, "adamw", 1e-3)

    def train(self, batch: Batch) -> float:
        """Return the seconds of one step."""
        self._synchronize()
        clock = process_time if self.device.type == "cpu" else perf_counter
        start = clock()
        teacher = self.teach(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss, _ = self.step(batch, teacher, 1.0)
        loss.backward()
        self.step.finish_step(lambda rows: rows)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._synchronize()
        return clock() - start

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def random_batch(options: argparse.Namespace) -> Batch:
    size, count = options.size, options.batch_size
    return Batch(
        images=torch.randint(256, (count, size, size, 3), dtype=torch.uint8),
        labels=torch.randint(options.identities, (count,)),
        flipped=torch.zeros(count, dtype=torch.bool),
        keys=np.zeros((count, 16), np.uint8),
    ).to(torch.device(options.device))


def compare(trainers: Mapping[str, Trainer], options: argparse.Namespace) -> None:
    """Print the times of a step, and their ratio to those of the first trainer."""
    times: dict[str, list[float]] = {name: [] for name in trainers}
    # In turn, so that whatever else the machine does strikes all of them alike.
    for number in range(options.steps + WARM_UP):
        batch = random_batch(options)
        for name, trainer in trainers.items():
            seconds = trainer.train(batch)
            if number >= WARM_UP:
                times[name].append(seconds)
    print(
        f"mobilefacenet width {options.width}, {options.size} px, batch {options.batch_size}, "
        f"{options.identities:,} identities, {options.device} {platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    first = next(iter(times))
    for name, each in times.items():
        ratio, least = median(each) / median(times[first]), min(each) / min(times[first])
        print(
            f"{name:<16} median {1e3 * median(each):7.1f} ms, {ratio:.3f} of {first}; "
            f"shortest {1e3 * min(each):7.1f} ms, {least:.3f}"
        )
