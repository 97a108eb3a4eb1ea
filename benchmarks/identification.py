"""1:N search of 20,000 probes in a gallery of 1,000,000 x 512, in bounded memory.

    python benchmarks/identification.py [--probes 20000] [--gallery 1000000]

The gallery is a file of random embeddings, float32. The reference, written from the
protocol, multiplies all probes with all entries at once; as its matrix would take 80 GB it is run
on the share of the gallery that `--reference` names, and compared with the blocked search there.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from facedistill.data.formats.npy import NpyFile
from facedistill.evaluation.metrics.identification import Matches, search_gallery

DIMENSION = 512
ROWS_AT_ONCE = 50_000


def write_gallery(path: Path, entries: int, centres: np.ndarray, seed: int) -> None:
    """Write one entry per identity; the first identities are those of the probes."""
    rng = np.random.default_rng(seed)
    gallery = np.lib.format.open_memmap(path, "w+", np.float32, (entries, DIMENSION))
    for start in range(0, entries, ROWS_AT_ONCE):
        rows = gallery[start : start + ROWS_AT_ONCE]
        rows[:] = rng.normal(size=rows.shape)
        own = centres[start : start + len(rows)]
        rows[: len(own)] = own + 0.8 * rows[: len(own)]
    gallery.flush()


def all_at_once(probes: np.ndarray, identities: np.ndarray, gallery: np.ndarray) -> tuple:
    """Return (mate, best other, rank) of every probe; entry i is of identity i."""
    similarity = probes @ (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).T
    mated = identities < len(gallery)
    rows = np.flatnonzero(mated)
    mate = similarity[rows, identities[rows]]
    similarity[rows, identities[rows]] = -np.inf
    rank = 1 + (similarity[rows] >= mate[:, None]).sum(axis=1)
    return mate, similarity.max(axis=1), rank


def peak_gigabytes() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=20_000)
    parser.add_argument("--gallery", type=int, default=1_000_000)
    parser.add_argument("--reference", type=float, default=0.01, help="share of the gallery")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    centres = rng.normal(size=(options.probes // 2, DIMENSION)).astype(np.float32)
    identities = np.arange(options.probes)
    # Half of the probes have a mate in the gallery.
    identities[len(centres) :] += options.gallery
    probes = rng.normal(size=(options.probes, DIMENSION)).astype(np.float32)
    probes[: len(centres)] += centres
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "gallery.npy"
        write_gallery(path, options.gallery, centres, options.seed + 1)
        gallery = NpyFile(path)
        before = peak_gigabytes()
        start = perf_counter()
        found = search_gallery(probes, identities, gallery, np.arange(len(gallery)))
        seconds = perf_counter() - start
        rate = 2 * options.probes * options.gallery * DIMENSION / seconds / 1e9
        print(
            f"{options.probes:,} probes, {options.gallery:,} entries: {seconds:.1f} s "
            f"({rate:.0f} GFLOP/s), rank 1 {np.mean(found.rank[found.mated] == 1):.4f}; peak "
            f"{peak_gigabytes():.2f} GB, {before:.2f} GB before"
        )
        share = np.array(gallery[: max(len(centres), round(options.reference * len(gallery)))])
    compare(probes, identities, share)


def compare(probes: np.ndarray, identities: np.ndarray, gallery: np.ndarray) -> None:
    """Print the time of the matrix all at once against the search in blocks."""
    units = probes / np.linalg.norm(probes, axis=1, keepdims=True)
    start = perf_counter()
    mate, rival, rank = all_at_once(units, identities, gallery)
    at_once = perf_counter() - start
    start = perf_counter()
    found: Matches = search_gallery(probes, identities, gallery, np.arange(len(gallery)))
    blocks = perf_counter() - start
    if not (
        np.allclose(found.mate[found.mated], mate, atol=1e-5)
        and np.allclose(found.rival, rival, atol=1e-5)
        and np.mean(found.rank[found.mated] == rank) > 0.99  # rounding swaps near neighbours
    ):
        raise SystemExit("the two ways disagree: the times mean nothing")
    print(
        f"{len(gallery):,} entries: all at once {at_once:.2f} s, in blocks {blocks:.2f} s, "
        f"{at_once / blocks:.1f} times faster"
    )


if __name__ == "__main__":
    main()
