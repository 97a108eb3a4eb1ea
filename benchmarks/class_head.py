"""Memory and time of a step of a sharded class head, predicted and measured.

    python benchmarks/class_head.py --identities 100000 --sample-rate 0.1

Steps the head of one process alone on random embeddings, as `margin_softmax` with `sharded: true`
does: loss, backward, optimiser. Prints the memory that the formula predicts beside the largest that
the process grew to. Of P processes each has 1/P of the identities and the embeddings of all: to see
one of them, give it its share of the identities and the batch of all.

With n identities here, K centres each of D dimensions, s numbers that the optimiser remembers of a
weight (AdamW 2, SGD 1), sample rate r and B images:

    weights and what is remembered of them   4 n K D (1 + s)
    gradient, its two parts and their sum    4 n K D 3, without sampling
    rows, their gradient and state, sampled  4 r n K D (2 + s)
    scores                                   4 r n B SCORES
"""

from __future__ import annotations

import argparse
import platform
import resource
from statistics import median
from time import perf_counter

import torch

from facedistill.distill.objectives.classification.sharded_head import ShardedHead
from facedistill.engine.optimizer import create_optimizer

SCORES = 7
"""Arrays of a float32 for each image and class that are there at once."""
REMEMBERED = {"sgd": 1, "adamw": 2}


def predicted(options: argparse.Namespace) -> float:
    """Return the bytes that the formula gives."""
    weight = 4 * options.identities * options.dimension
    rate, remembered = options.sample_rate, REMEMBERED[options.optimizer]
    passing = 3 * weight if rate == 1 else rate * weight * (2 + remembered)
    scores = 4 * rate * options.identities * options.batch_size * SCORES
    return weight * (1 + remembered) + passing + scores


def peak() -> int:
    """Return the most bytes of memory that this process has had so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def step(head: ShardedHead, optimizer: torch.optim.Optimizer, batch: int) -> float:
    """Make a step on random embeddings and return its seconds."""
    embedding = torch.randn(batch, head.head.embedding_size, requires_grad=True)
    labels = torch.randint(head.classes, (batch,))
    start = perf_counter()
    loss, _ = head(embedding, labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return perf_counter() - start


def made(options: argparse.Namespace, identities: int) -> tuple[ShardedHead, torch.optim.Optimizer]:
    """Return a head that has made a step, and its optimiser."""
    head = ShardedHead("arcface", options.dimension, identities, sample_rate=options.sample_rate)
    optimizer = create_optimizer(head, options.optimizer, 0.1)
    step(head, optimizer, options.batch_size)
    return head, optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--sample-rate", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--optimizer", choices=REMEMBERED, default="adamw")
    parser.add_argument("--steps", type=int, default=3, help="timed, after one that is not")
    options = parser.parse_args()
    torch.manual_seed(0)
    made(options, 100)  # What a step imports is no memory of the head.
    before = peak()
    head, optimizer = made(options, options.identities)
    seconds = [step(head, optimizer, options.batch_size) for _ in range(options.steps)]
    print(
        f"{options.identities:,} x {options.dimension}, {options.optimizer}, rate "
        f"{options.sample_rate:g}, batch {options.batch_size}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(
        f"predicted {predicted(options) / 1e9:.2f} GB, measured {(peak() - before) / 1e9:.2f} GB; "
        f"a step {median(seconds):.2f} s"
    )


if __name__ == "__main__":
    main()
