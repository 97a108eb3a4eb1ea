"""Cost of exact mining of neighbours over the bare matrix product with top-k.

    python benchmarks/mining.py --blocks 8

Fills a bank of random embeddings, and in a process of its own reads the prototypes from it and
finds neighbours in two ways in turn, block of rows by block of rows: by `nearest_of`, and by the
same library calls alone, which multiply and take the top k but do nothing about a row itself, about
blocks of columns that must be merged, or about equal cosines. Prints the ratio of the times and the
largest memory of that process. Without `--blocks` every row is done, which takes minutes.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import BankInfo, rows_per_shard
from facedistill.distill.bank.mining import COLUMNS, ROWS, nearest_of
from facedistill.distill.bank.writing import import_bank


class NamelessFaces(FaceDataset):
    """Identities without images; a bank needs only their keys."""

    def __init__(self, identities: int, images: int) -> None:
        self.name = "nameless faces"
        self.labels = np.repeat(np.arange(identities), images)

    def encoded(self, index: int) -> bytes:
        return index.to_bytes(8, "little")

    def where(self, index: int) -> str:
        return f"face {index}"


def fill_bank(faces: FaceDataset, dimension: int, folder: Path) -> None:
    """Give every face a random embedding."""
    rng = np.random.default_rng(0)
    path, shape = folder / "embeddings.npy", (len(faces), dimension)
    embeddings = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for start in range(0, len(faces), 4096):
        part = embeddings[start : start + 4096]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    info = BankInfo(
        teacher="none",
        teacher_name="random numbers",
        dataset=faces.fingerprint,
        dataset_name=faces.name,
        count=len(faces),
        dimension=dimension,
        views=("plain",),
        rows=rows_per_shard(len(faces)),
    )
    import_bank(embeddings, faces, folder / "bank", info=info)


def bare(prototypes: torch.Tensor, block: slice, count: int) -> list[tuple[torch.Tensor, ...]]:
    """Multiply and take the top k of every block of columns."""
    found = []
    for start in range(0, len(prototypes), COLUMNS):
        cosines = prototypes[block] @ prototypes[start : start + COLUMNS].T
        values, indices = cosines.topk(min(count, cosines.shape[1]), dim=1)
        found.append((values.cpu(), indices.cpu()))
    return found


def compare(faces: FaceDataset, options: argparse.Namespace) -> None:
    """Mine a bank in both ways and print times and memory."""
    libraries = peak_mib()
    start = perf_counter()
    bank = Bank(options.bank)
    prototypes = torch.from_numpy(bank.prototypes(bank.rows_of(faces), faces.labels))
    print(f"prototypes of {len(faces):,} images: {perf_counter() - start:.1f} s")
    prototypes = prototypes.to(options.device)
    indices = torch.empty(len(prototypes), options.count, dtype=torch.int64)
    cosines = torch.empty(len(prototypes), options.count)
    seconds = {"bare": 0.0, "mining": 0.0}
    starts = range(0, len(prototypes), ROWS)[: options.blocks]
    for number, first in enumerate(starts):
        block = slice(first, min(first + ROWS, len(prototypes)))
        for way in ("bare", "mining") if number % 2 else ("mining", "bare"):
            start = perf_counter()
            if way == "bare":
                bare(prototypes, block, options.count)
            else:
                indices[block], cosines[block] = nearest_of(prototypes, block, options.count)
            seconds[way] += perf_counter() - start
    print(
        f"{options.identities:,} x {options.dimension}, K = {options.count}, "
        f"{len(starts)} of {-(-len(prototypes) // ROWS)} blocks of {ROWS} rows, {options.device} "
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    ratio = seconds["mining"] / seconds["bare"]
    print(f"bare {seconds['bare']:.1f} s, mining {seconds['mining']:.1f} s: ratio {ratio:.3f}")
    print(f"peak memory {peak_mib():,.0f} MiB, of which {libraries:,.0f} before the bank is opened")


def peak_mib() -> float:
    """Return the largest memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=85_742)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--images", type=int, default=4, help="of each identity in the bank")
    parser.add_argument("--blocks", type=int, help="of rows; default: all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bank", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    faces = NamelessFaces(options.identities, options.images)
    if options.bank is not None:
        compare(faces, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        fill_bank(faces, options.dimension, Path(folder))
        bank = ["--bank", str(Path(folder) / "bank")]
        subprocess.run([sys.executable, *sys.argv, *bank], check=True)


if __name__ == "__main__":
    main()
