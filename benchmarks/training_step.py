"""One training step: this project's against a plain PyTorch loop, with a teacher and without.

    python benchmarks/training_step.py FACES [--network mobilefacenet --width 0.5 --size 112]
        [--batch 128] [--rounds 6] [--compile] [--precision fp32]

FACES is any data set with labels. The plain loop is written the way arcface_torch writes it: NCHW
float32, an ArcFace head over all classes, gradients clipped, SGD. The others are this project's own
step, eager and (with --compile) compiled: the same margin softmax, and feature consistency from a
bank. All take turns, batch by batch, and each counts with its fastest round, so that other work on
the machine weighs little. Batches wait decoded in memory.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from facedistill.data.batch import Batch
from facedistill.data.dataset import FaceDataset
from facedistill.data.loading.loader import Loader, Order
from facedistill.data.open import open_dataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.making import import_embeddings
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.engine.loop import Fit, LoopOptions
from facedistill.engine.optimizer import create_optimizer
from facedistill.engine.run_teachers import Teachers
from facedistill.engine.step import TrainingStep, Weight
from facedistill.models.face_network import FaceNetwork
from facedistill.recipe.augmentation_options import Augmentation
from facedistill.runtime.input_spec import InputSpec

Step = Callable[[Batch], object]


@dataclass(frozen=True)
class Unmeasured:
    """A run that neither validates nor saves."""

    folder: Path

    def validate(self, network: FaceNetwork) -> None:
        return None

    def save(self, network: FaceNetwork, name: str, report: object) -> None:
        return None


class PlainArcFace(nn.Module):
    """ArcFace over all classes, in float32, as a trainer without this project would have it."""

    def __init__(self, size: int, identities: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.normal(0, 0.01, (identities, size)))

    def forward(self, embedding: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        cosine = F.linear(F.normalize(embedding), F.normalize(self.weight)).clamp(-1, 1)
        rows = torch.arange(len(labels), device=labels.device)
        target = cosine[rows, labels]
        sine = (1 - target.square()).clamp(min=0).sqrt()
        logits = cosine.clone()
        logits[rows, labels] = target * math.cos(0.5) - sine * math.sin(0.5)
        return F.cross_entropy(64 * logits, labels)


def plain_loop(network: FaceNetwork, identities: int, device: torch.device) -> Step:
    backbone = network.backbone.to(device, memory_format=torch.contiguous_format).train()
    head = PlainArcFace(network.embedding_size, identities).to(device)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=5e-4)

    def step(batch: Batch) -> None:
        pixels = batch.images.to(device).permute(0, 3, 1, 2).float().contiguous()
        loss = head(backbone((pixels - 127.5) / 127.5), batch.labels.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step


def training_loop(
    network: FaceNetwork,
    faces: FaceDataset,
    loader: Loader,
    teacher: Teacher | None,
    accelerator: Accelerator,
    folder: Path,
    compiled: bool,
) -> Step:
    name = "fcd" if teacher else "margin_softmax"
    context = RunContext(
        student_size=network.embedding_size,
        teacher_size=teacher.embedding_size if teacher else None,
        identities=int(faces.labels.max()) + 1,
    )
    training = TrainingStep(network, {name: create_objective(name, context)}, {name: Weight()})
    optimizer = create_optimizer(training, "sgd", lr=0.02)
    options = LoopOptions(steps=10**9, evaluate_every=10**9, clip=5, compile=compiled)
    fit = Fit(
        Unmeasured(folder), accelerator, training, Teachers(teacher), loader, optimizer, options
    )
    return fit._train


def random_bank(faces: FaceDataset, folder: Path) -> Bank:
    rows = np.random.default_rng(0).normal(size=(len(faces), 512)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    import_embeddings(folder / "rows.npy", faces, folder / "bank")
    return Bank(folder / "bank")


def seconds(step: Step, batch: Batch) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    step(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces")
    parser.add_argument("--network", default="mobilefacenet")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    options = parser.parse_args()

    mixed = "no" if options.precision == "fp32" else "bf16"
    accelerator = Accelerator(mixed_precision=mixed)
    faces = open_dataset(options.faces)
    loader = Loader(
        faces,
        Order(len(faces), options.batch, seed=0),
        augmentation=Augmentation(),
        image_size=options.size,
    )
    batches = list(loader.batches(0, 3))

    def network() -> FaceNetwork:
        torch.manual_seed(0)
        arguments = {"width": options.width, "embedding_size": 512}
        return FaceNetwork.create(options.network, InputSpec(size=options.size), **arguments)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher = BankTeacher(random_bank(faces, folder), "clean")
        identities = int(faces.labels.max()) + 1
        steps = {"plain loop": plain_loop(network(), identities, accelerator.device)}
        for compiled in (False, True) if options.compile else (False,):
            mode = "compiled" if compiled else "eager"
            for what, source in (("labels", None), ("bank", teacher)):
                steps[f"{mode}, {what}"] = training_loop(
                    network(), faces, loader, source, accelerator, folder, compiled
                )
        best = dict.fromkeys(steps, float("inf"))
        for round_ in range(options.rounds + 1):
            for batch in batches:
                for kind, step in steps.items():
                    taken = seconds(step, batch)
                    if round_:  # the first round warms up
                        best[kind] = min(best[kind], taken)

    reference = best["plain loop"]
    setting = f"{options.network} {options.width:g}, {options.size} px, batch {options.batch}"
    print(f"{setting}, {identities:,} identities, {options.precision}")
    print(f"torch {torch.__version__}, {accelerator.device}, {torch.get_num_threads()} threads")
    for kind, taken in best.items():
        line = f"{kind:18} {options.batch / taken:8.0f} images/s, {reference / taken:.2f} of plain"
        if kind.endswith("bank"):
            line += f"; a step costs {taken / best[kind.replace('bank', 'labels')]:.3f} of labels"
        print(line)


if __name__ == "__main__":
    main()
