"""Speed of 10-fold verification over the double loop over thresholds and folds.

    python benchmarks/verification.py

Scores 6,000 random pairs with both ways in one process and prints the ratio of their best times.
The double loop is the usual implementation of the protocol: for each of 10 folds and each of 400
thresholds one vectorised comparison of all pairs of the other folds.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from time import perf_counter

import numpy as np

from facedistill.evaluation.metrics.kfold import contiguous_folds, verification
from facedistill.evaluation.metrics.similarity import squared_distances


def double_loop(scores: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Return accuracy and its standard deviation over ten contiguous folds."""
    distances, fold = squared_distances(scores), contiguous_folds(len(scores), 10)
    thresholds = np.arange(0, 4, 0.01)
    accuracies = []
    for held_out in range(10):
        test = fold == held_out
        others, others_same = distances[~test], same[~test]
        tried = [((others < threshold) == others_same).mean() for threshold in thresholds]
        best = thresholds[int(np.argmax(tried))]
        accuracies.append(((distances[test] < best) == same[test]).mean())
    return float(np.mean(accuracies)), float(np.std(accuracies))


def best_time(work: Callable[[], object], repeats: int) -> float:
    """Return the shortest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    same = rng.permutation(np.arange(options.pairs) % 2 == 0)
    scores = np.clip(rng.normal(np.where(same, 0.45, 0.05), 0.15), -1, 1)

    result = verification(scores, same)
    if (result.accuracy, result.std) != double_loop(scores, same):
        raise SystemExit("the two ways disagree: the times mean nothing")
    slow = best_time(lambda: double_loop(scores, same), 3)
    print(f"{options.pairs:,} pairs, {platform.machine()}, numpy {np.__version__}")
    print(f"double loop, 400 thresholds x 10 folds: {1e3 * slow:.2f} ms")
    for protocol in ("insightface", "exact"):
        fast = best_time(lambda p=protocol: verification(scores, same, p), 50)
        print(f"verification, {protocol}: {1e3 * fast:.2f} ms, {slow / fast:.0f} times faster")


if __name__ == "__main__":
    main()
