"""What a step of CoupleFace costs over a step of feature consistency alone.

    python benchmarks/coupleface.py

Trains the same student on the same random batches with each set of objectives in turn in one
process, and prints the ratio of the median times of a step: forward, loss, backward, optimiser,
feature banks. The data loader and the bank's look-up, the same for all, are left out. On a CPU
times are processor time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import platform
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.mining import Neighbours, nearest
from facedistill.distill.objective import Setting, create_objective
from facedistill.models.face_network import FaceNetwork
from facedistill.models.input_spec import InputSpec
from facedistill.models.outputs import Outputs
from facedistill.training.optimizer import create_optimizer
from facedistill.training.step import TrainingStep, Weight

TERMS: dict[str, dict[str, dict[str, object]]] = {
    "fcd": {"fcd": {}},
    "fcd + mrd": {"fcd": {}, "mrd": {}},
    "fcd + rad": {"fcd": {}, "rad": {}},
    "fcd + rad_queue": {"fcd": {}, "rad_queue": {}},
    "coupleface": {"fcd": {}, "rad": {}, "margin_softmax": {}},
}


class Trainer:
    """One step after the other of one recipe."""

    def __init__(self, terms: dict[str, dict[str, object]], options: argparse.Namespace) -> None:
        self.options, self.device = options, torch.device(options.device)
        generator = torch.Generator().manual_seed(0)
        prototypes = F.normalize(
            torch.randn(options.identities, options.dimension, generator=generator)
        )
        setting = Setting(
            options.dimension,
            options.dimension,
            options.identities,
            lambda count: Neighbours(prototypes, *nearest(prototypes, count)),
        )
        torch.manual_seed(0)
        student = FaceNetwork.create(
            "mobilefacenet",
            InputSpec(size=options.size),
            embedding_size=options.dimension,
            width=options.width,
        )
        objectives = {name: create_objective(name, setting, **more) for name, more in terms.items()}
        self.step = TrainingStep(student, objectives, {name: Weight() for name in terms})
        self.step.to(self.device).train()
        self.optimizer = create_optimizer(self.step, "adamw", 1e-3)

    def train(self, batch: Batch, teacher: Outputs) -> float:
        """Return the seconds of one step."""
        self.synchronize()
        clock = process_time if self.device.type == "cpu" else perf_counter
        start = clock()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            loss, _ = self.step(batch, teacher, 1.0)
        loss.backward()
        self.step.finish_step(lambda rows: rows)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.synchronize()
        return clock() - start

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def random_batch(options: argparse.Namespace) -> tuple[Batch, Outputs]:
    size, count = options.size, options.batch_size
    batch = Batch(
        images=torch.randint(256, (count, size, size, 3), dtype=torch.uint8),
        labels=torch.randint(options.identities, (count,)),
        flipped=torch.zeros(count, dtype=torch.bool),
        keys=np.zeros((count, 16), np.uint8),
    ).to(torch.device(options.device))
    return batch, Outputs(embedding=torch.randn(count, options.dimension, device=options.device))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=4400)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="train under autocast")
    options = parser.parse_args()
    trainers = {name: Trainer(terms, options) for name, terms in TERMS.items()}
    times: dict[str, list[float]] = {name: [] for name in TERMS}
    # In turn, so that whatever else the machine does strikes all of them alike.
    for number in range(options.steps + 3):
        batch, teacher = random_batch(options)
        for name, trainer in trainers.items():
            seconds = trainer.train(batch, teacher)
            if number >= 3:
                times[name].append(seconds)
    print(
        f"mobilefacenet width {options.width}, {options.size} px, batch {options.batch_size}, "
        f"{options.identities:,} identities, {options.device} {platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name, each in times.items():
        ratio, least = median(each) / median(times["fcd"]), min(each) / min(times["fcd"])
        print(
            f"{name:<16} median {1e3 * median(each):6.1f} ms, {ratio:.3f} of fcd; "
            f"shortest {1e3 * min(each):6.1f} ms, {least:.3f}"
        )


if __name__ == "__main__":
    main()
