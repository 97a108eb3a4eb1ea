"""What a step of cross-architecture distillation costs over feature consistency, teacher online.

    python benchmarks/cakd.py [--teacher swin_nano --size 64 --width 0.25 --batch-size 32]

Trains the same student by the same teacher on the same random batches in turn, in one process, and
prints the ratio of the median times of a step: teacher, forward, loss, backward, optimiser. The
data loader, the same for all, is left out. On a CPU times are processor time, which other work on
the machine disturbs less.
"""

from __future__ import annotations

import argparse
import platform
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

from facedistill.data.batch import Batch
from facedistill.distill.objective import Setting, create_objective
from facedistill.distill.pixel_features import find_pixel_features
from facedistill.distill.prompted import PromptedNetwork
from facedistill.distill.teacher import NetworkTeacher, TrainableTeacher
from facedistill.models.face_network import FaceNetwork
from facedistill.models.input_spec import InputSpec
from facedistill.models.outputs import Outputs
from facedistill.training.optimizer import create_optimizer
from facedistill.training.step import TrainingStep
from facedistill.training.weight import Weight

LABELS: dict[str, dict[str, object]] = {"margin_softmax": {"head": "cosface"}}
TERMS: dict[str, tuple[dict[str, dict[str, object]], int]] = {
    "fcd": ({"fcd": {}}, 0),
    "labels + fcd": (LABELS | {"fcd": {}}, 0),
    "labels + fitnet": (LABELS | {"fitnet": {}}, 0),
    "labels + urfm": (LABELS | {"urfm": {}}, 0),
    "cakd": (LABELS | {"urfm": {}, "prompt_preservation": {}}, 10),
}
"""Objectives, and prompts of the teacher."""


class Trainer:
    """One step after the other of one recipe."""

    def __init__(
        self, terms: dict[str, dict[str, object]], prompts: int, options: argparse.Namespace
    ) -> None:
        self.options, self.device = options, torch.device(options.device)
        torch.manual_seed(0)
        spec = InputSpec(size=options.size)
        plain = FaceNetwork.create(options.teacher, spec)
        student = FaceNetwork.create("mobilefacenet", spec, width=options.width)
        trainable = TrainableTeacher(PromptedNetwork(plain, prompts), plain) if prompts else None
        self.teacher = None if trainable else NetworkTeacher(plain)
        pixels = find_pixel_features(plain)
        assert pixels is not None
        setting = Setting(
            student.embedding_size,
            plain.embedding_size,
            options.identities,
            student_pixels=find_pixel_features(student),
            teacher_pixels=pixels,
            saliency=lambda: torch.rand(pixels.side, pixels.side),
        )
        objectives = {name: create_objective(name, setting, **more) for name, more in terms.items()}
        weights = {name: Weight() for name in terms}
        self.step = TrainingStep(student, objectives, weights, teacher=trainable)
        self.step.to(self.device)
        self.optimizer = create_optimizer(self.step, "adamw", 1e-3)

    def train(self, batch: Batch) -> float:
        """Return the seconds of one step."""
        self.synchronize()
        clock = process_time if self.device.type == "cpu" else perf_counter
        start = clock()
        said = self.teacher(batch, self.step.teacher_needs) if self.teacher else Outputs()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            loss, _ = self.step(batch, said, 1.0)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.synchronize()
        return clock() - start

    def synchronize(self) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="swin_nano")
    parser.add_argument("--identities", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="train under autocast")
    options = parser.parse_args()
    trainers = {name: Trainer(*terms, options) for name, terms in TERMS.items()}
    times: dict[str, list[float]] = {name: [] for name in TERMS}
    # In turn, so that whatever else the machine does strikes all of them alike.
    for number in range(options.steps + 2):
        batch = random_batch(options)
        for name, trainer in trainers.items():
            seconds = trainer.train(batch)
            if number >= 2:
                times[name].append(seconds)
    print(
        f"{options.teacher} to mobilefacenet width {options.width}, {options.size} px, batch "
        f"{options.batch_size}, {options.identities:,} identities, {options.device} "
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name, each in times.items():
        ratio, least = median(each) / median(times["fcd"]), min(each) / min(times["fcd"])
        print(
            f"{name:<16} median {1e3 * median(each):7.1f} ms, {ratio:.3f} of fcd; "
            f"shortest {1e3 * min(each):7.1f} ms, {least:.3f}"
        )


if __name__ == "__main__":
    main()
