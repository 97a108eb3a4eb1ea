"""Time of each part of distilling from a bank, and its peak memory.

    python benchmarks/epoch.py FACES [--network mobilefacenet --width 0.25 --size 64]
        [--batch 128] [--steps 30] [--cache none|ram] [--workers 0]

Runs the parts of a training step one after the other and prints each part's share; then the
process's peak memory, and what of it is the interpreter with its libraries, the open data set and
bank (mapped files count only where they were read), the decoded cache and the training itself.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from facedistill.data.loading.loader import Loader, Order
from facedistill.data.open import open_dataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.making import import_embeddings
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.engine.optimizer import create_optimizer
from facedistill.models.face_network import FaceNetwork
from facedistill.recipe.augmentation_options import Augmentation
from facedistill.runtime.input_spec import InputSpec

shares: dict[str, float] = defaultdict(float)


@contextmanager
def part(name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    shares[name] += time.perf_counter() - start


def megabytes() -> float:
    """Peak of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces")
    parser.add_argument("--network", default="mobilefacenet")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--cache", choices=["none", "ram"], default="ram")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()

    memory = {"interpreter and libraries": megabytes()}
    faces = open_dataset(options.faces)
    with tempfile.TemporaryDirectory() as folder:
        rows = np.lib.format.open_memmap(
            Path(folder, "rows.npy"), "w+", np.float32, (len(faces), 512)
        )
        for row in range(0, len(rows), 1000):
            rows[row : row + 1000] = np.random.default_rng(row).normal(size=(1, 512))
        rows.flush()
        del rows
        import_embeddings(Path(folder, "rows.npy"), faces, Path(folder, "bank"))
        teacher = BankTeacher(Bank(Path(folder, "bank")), "clean")
        memory["data set and bank"] = megabytes()
        loader = Loader(
            faces,
            Order(len(faces), options.batch, seed=0),
            augmentation=Augmentation(),
            image_size=options.size,
            cache=options.cache,
            workers=options.workers,
        )
        memory["decoded cache"] = megabytes()
        train(loader, teacher, options)
        memory["training"] = megabytes()

    total = sum(shares.values())
    print(f"{options.network} {options.width:g}, {options.size} px, batch {options.batch}, "
          f"cache {options.cache}, {options.workers} workers, {torch.get_num_threads()} threads: "
          f"{options.steps * options.batch / total:,.0f} images/s")  # fmt: skip
    for name, taken in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"  {name:28} {100 * taken / total:5.1f} %")
    print(f"peak memory {memory['training']:,.0f} MB")
    before = 0.0
    for name, peak in memory.items():
        print(f"  {name:28} {peak - before:+8,.0f} MB")
        before = peak


def train(loader: Loader, teacher: BankTeacher, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    student = FaceNetwork.create(
        options.network,
        InputSpec(size=options.size),
        width=options.width,
        embedding_size=512,
    ).train()
    objective = create_objective("fcd", RunContext(512, 512))
    optimizer = create_optimizer(student, "adamw", lr=1e-3, weight_decay=0.01)
    batches = loader.batches(0, options.steps + 2)
    for step in range(options.steps + 2):
        if step == 2:  # the first two warm up
            shares.clear()
        with part("reading and augmenting"):
            batch = next(batches)
        with part("bank"):
            teacher_outputs = teacher(batch, {"embedding"})
        with part("forward"):
            student_outputs = student(batch.images, {"embedding"})
        with part("objective"):
            loss, _ = objective(student_outputs, teacher_outputs, batch)
        with part("backward"):
            loss.backward()
        with part("gradient norm and guard"):
            torch.nn.utils.clip_grad_norm_(student.parameters(), 5)
            torch.isfinite(loss).item()
        with part("optimizer"):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    batches.close()


if __name__ == "__main__":
    main()
