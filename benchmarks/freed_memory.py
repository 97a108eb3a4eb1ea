"""Training steps with and without the memory that `facedistill` keeps between them.

    python benchmarks/freed_memory.py [--network iresnet18 --width 0.25 --size 64]
        [--batch 64] [--steps 100] [--rounds 2]

Forward, backward and step of a network on noise, each time in a fresh process, the two ways in
turn; each counts with its fastest round. Prints images a second, their ratio and the peaks of
memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from facedistill.core.process import keep_freed_memory
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec


def train(options: argparse.Namespace) -> dict[str, float]:
    torch.manual_seed(0)
    student = FaceNetwork.create(
        options.network, InputSpec(size=options.size), width=options.width, embedding_size=128
    ).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    shape = (options.batch, options.size, options.size, 3)
    images = torch.randint(256, shape, dtype=torch.uint8)
    for step in range(options.steps + 5):
        if step == 5:
            start = time.perf_counter()
        student(images, {"embedding"}).embedding.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {
        "images": options.steps * options.batch / (time.perf_counter() - start),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="iresnet18")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--way", choices=["given back", "kept"], help="one process of these")
    options = parser.parse_args()
    if options.way:
        if options.way == "kept" and not keep_freed_memory():
            sys.exit("the allocator is not glibc's: nothing to compare")
        print(json.dumps(train(options)))
        return
    best: dict[str, dict[str, float]] = {}
    for _ in range(options.rounds):
        for way in ("given back", "kept"):
            command = [sys.executable, *sys.argv, "--way", way]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            best[way] = max(best.get(way, {"images": 0.0}), json.loads(run.stdout), key=_rate)
    for way, result in best.items():
        print(f"{way:10} {result['images']:6.0f} images/s, peak {result['megabytes']:,.0f} MB")
    print(f"ratio {best['kept']['images'] / best['given back']['images']:.2f}")


def _rate(result: dict[str, float]) -> float:
    return result["images"]


if __name__ == "__main__":
    main()
