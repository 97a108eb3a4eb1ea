"""Milliseconds a probe of an exact search in a gallery of 1,000,000 x 512, on one core.

    python benchmarks/gallery_search.py [--templates 1000000] [--probes 1 8 32 64]

Templates are random unit vectors, and each probe lies near one of them. `found` is
the share of probes whose template is the most similar. The five most similar are asked for.
"""

from __future__ import annotations

import argparse
import os
import platform
from time import perf_counter

for library in ("OPENBLAS", "OMP", "MKL"):  # Read when NumPy is imported.
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402

from facedistill.runtime.gallery.stored_templates import (  # noqa: E402
    PRECISIONS,
    StoredTemplates,
)
from facedistill.runtime.gallery.template_search import BLOCK, TemplateSearch  # noqa: E402

DIMENSION = 512


def unit_vectors(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return random unit vectors, float32 (N, D)."""
    rows = rng.standard_normal((count, DIMENSION), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def laid_out(count: int, precision: str) -> TemplateSearch:
    """Return a search whose templates were made block by block, to spare memory."""
    rng = np.random.default_rng(0)
    search = None
    for start in range(0, count, BLOCK):
        stored = StoredTemplates.of(unit_vectors(min(BLOCK, count - start), rng), precision)
        if search is None:
            search = TemplateSearch(stored)
        else:
            search.add(stored)
    assert search is not None
    return search


def main() -> None:
    """Print a row for each precision and number of probes at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--templates", type=int, default=1_000_000)
    parser.add_argument("--probes", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{platform.machine()}, NumPy {np.__version__}, {chosen.templates:,} x {DIMENSION}")
    print("| stored as | probes at a time | ms a probe | found |")
    print("|---|---|---|---|")
    rng = np.random.default_rng(0)
    first = unit_vectors(min(BLOCK, chosen.templates), rng)
    for precision in PRECISIONS:
        search = laid_out(chosen.templates, precision)
        for count in chosen.probes:
            probes = first[:count] + 0.7 * unit_vectors(count, np.random.default_rng(1))
            probes /= np.linalg.norm(probes, axis=1, keepdims=True)
            best = np.inf
            for _ in range(chosen.repeats):
                start = perf_counter()
                numbers, _ = search.nearest(probes, 5)
                best = min(best, perf_counter() - start)
            found = (numbers[:, 0] == np.arange(count)).mean()
            milliseconds = best / count * 1e3
            print(f"| {precision} | {count} | {milliseconds:.1f} | {found:.0%} |", flush=True)
        del search


if __name__ == "__main__":
    main()
