"""Draw the sets of the study `small_sets` from one set of faces, each in the next larger one.

    python studies/small_sets/draw.py FACES EMBEDDINGS.npy OUT

FACES holds train.rec, EMBEDDINGS.npy the teacher's embedding of each of its images, in order.
OUT/faces_300, faces_1000, ... get that many identities, five photos of each, and faces_300.npy, ...
the teacher's embeddings of their images. The 200 identities that `studies.measure` holds out are in
none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from facedistill.data.labels import Subset, split_identities
from facedistill.data.open import open_dataset
from facedistill.data.packing import pack
from facedistill.experiments.build.training_data import SPLIT_SEED

SEED = 0
HELD_OUT = 200
SIZES = (100, 300, 1000, 4400)
PHOTOS = 5


def first_photos(labels: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """Indices of the first photos of these identities, in the order of the set."""
    chosen = [np.flatnonzero(labels == identity)[:PHOTOS] for identity in identities]
    return np.sort(np.concatenate(chosen))


def draw(faces: Path, embeddings: Path, out: Path) -> None:
    """Write the sets and their embeddings."""
    source, rows = open_dataset(faces), np.load(embeddings)
    training, _ = split_identities(source.labels, HELD_OUT, SPLIT_SEED)
    identities = np.random.default_rng(SEED).permutation(np.unique(source.labels[training]))
    for count in SIZES:
        name = f"faces_{count}"
        chosen = first_photos(source.labels, identities[:count])
        subset = Subset(source, chosen)
        pack(subset, out / name, overwrite=True)
        np.save(out / f"{name}.npy", rows[chosen[np.argsort(subset.labels, kind="stable")]])
        print(f"{name}: {len(chosen):,} images of {count:,} identities")


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:4]))
