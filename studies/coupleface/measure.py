"""Measure the runs of this study as design.md says and write result.json.

    python studies/coupleface/measure.py RUNS FACES PAIRS [--out result.json]

RUNS is the folder of the comparison, FACES the folder with train.rec, PAIRS celeba_test.bin. Runs
that are not finished are left out, and figures of an earlier result.json stay: it can be run at any
time, again and again, and seeds may come from several machines, each with its own RUNS.

Images are embedded at the size they are stored in; the network scales them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import facedistill
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import Subset, split_identities
from facedistill.data.open import open_dataset
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.evaluation.metrics.similarity import unit_rows
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import AcrossFoldsProtocol, AllPairsProtocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.statistics.seed_differences import seed_difference
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.experiments.build.training_data import SPLIT_SEED
from facedistill.models.inference import Network, embed_images

ARMS = ("fcd_ce", "rad_mined", "rad_random", "mrd")
CENTRED = "+centred"
FARS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
CONTRASTS = (
    ("rad_mined", "fcd_ce"),
    ("rad_mined", "rad_random"),
    ("rad_random", "fcd_ce"),
    ("mrd", "fcd_ce"),
    ("rad_mined", "mrd"),
    ("fcd_ce+centred", "fcd_ce"),
    ("rad_mined", "fcd_ce+centred"),
    ("rad_mined+centred", "fcd_ce+centred"),
)
PRIMARY = "test TAR@1e-3"
VALIDATION_IDENTITIES = 200
"""Of the training faces; the training splits them off, the same for every seed."""
EVERY = 5
"""Of the training images one in so many gives the mean that is subtracted."""


@dataclass(frozen=True)
class Tests:
    """What every network is measured on.

    Attributes:
        listed: The listed pairs.
        across: All pairs of their images across folds.
        held_out: All pairs of the identities held out.
        training: The images that give the mean.
    """

    listed: PairProtocol
    across: AcrossFoldsProtocol
    held_out: AllPairsProtocol
    training: FaceDataset

    @classmethod
    def open(cls, faces: Path, pairs: Path) -> Tests:
        """Open the pairs, and split the faces as the training does."""
        pairset, dataset = open_pairs(pairs), open_dataset(faces)
        training, held_out = split_identities(dataset.labels, VALIDATION_IDENTITIES, SPLIT_SEED)
        return cls(
            PairProtocol(pairset),
            AcrossFoldsProtocol(pairset),
            AllPairsProtocol(Subset(dataset, held_out)),
            Subset(dataset, training[::EVERY]),
        )


# Figures


def embed(network: Network, faces: FaceDataset) -> np.ndarray:
    """f(x) + f(mirrored x), of unit length, float32 (N, D)."""
    rows = embed_images(network, lambda index: faces[index].image, len(faces))
    return unit_rows(rows, rows.dtype)


def figures(tests: Tests, test: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """Every measure, in per cent, of the embeddings of the listed images and of those held out."""
    options = EvaluationOptions(fars=tuple(FARS.values()), resamples=0)
    found = {}
    for name, protocol, rows in (
        ("test", tests.across, test),
        ("held out", tests.held_out, held_out),
    ):
        report = protocol.evaluate_stored(StoredEmbeddings(name, rows), options)
        for far, point in zip(FARS, report.points, strict=True):
            assert point.tar is not None, f"too few impostor pairs for FAR {far}"
            found[f"{name} TAR@{far}"] = 100 * point.tar
    listed = tests.listed.evaluate_stored(StoredEmbeddings("test", test), options)
    found["test accuracy"] = 100 * listed.accuracy
    return found


def centred(embeddings: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Less the mean, of unit length again."""
    return unit_rows(embeddings - mean, embeddings.dtype)


def measure(network: Network, tests: Tests) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of a network as it is, and centred."""
    test = embed(network, tests.listed.pairset.faces)
    held_out = embed(network, tests.held_out.faces)
    mean = embed(network, tests.training).mean(0)
    return (
        figures(tests, test, held_out),
        figures(tests, centred(test, mean), centred(held_out, mean)),
    )


# Claims


Runs = dict[str, dict[str, dict[str, float]]]
"""Measures by arm and seed."""


def claims(runs: Runs, seeds: list[str]) -> list[dict[str, Any]]:
    """Every contrast on every measure, the primary one first."""
    if not seeds:
        return []
    measures = sorted(runs[ARMS[0]][seeds[0]], key=lambda name: (name != PRIMARY, name))
    return [_claim(runs, seeds, *arms, measure) for measure in measures for arms in CONTRASTS]


def _claim(runs: Runs, seeds: list[str], one: str, other: str, measure: str) -> dict[str, Any]:
    first, second = ({int(s): runs[arm][s][measure] for s in seeds} for arm in (one, other))
    found = seed_difference(first, second)
    assert found is not None, "every arm has these seeds"
    interval = found.estimate.interval
    return {
        "name": f"{one} - {other}",
        "measure": measure,
        "difference": found.estimate.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "seeds": len(seeds),
        "least_difference": found.least,
    }


def counts(protocol: AllPairsProtocol) -> dict[str, int]:
    """How many images and pairs a figure rests on."""
    labels, images = protocol.faces.labels, len(protocol.faces)
    apart = labels if protocol.folds is None else protocol.folds
    impostor = images * (images - 1) // 2 - pairs_within(apart)
    return {"images": images, "genuine": pairs_within(labels), "impostor": impostor}


def pairs_within(groups: np.ndarray) -> int:
    """Pairs of two images of one group."""
    sizes = np.unique(groups, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def finished(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Arm, seed and last weights of every finished run."""
    for arm in ARMS:
        seeds = (folder / "runs" / arm).glob("seed-*")
        for run in sorted(seeds, key=lambda path: int(path.name[5:])):
            if (run / "summary.json").exists():
                yield arm, run.name[5:], run / "last.safetensors"


def main() -> None:
    """Measure what is finished and not yet measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    options = parser.parse_args()

    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    tests = Tests.open(options.faces, options.pairs)
    weights = {arm: dict(known.get("weights", {}).get(arm, {})) for arm in ARMS}
    runs = {
        arm + end: dict(known.get("runs", {}).get(arm + end, {}))
        for arm in ARMS
        for end in ("", CENTRED)
    }
    for arm, seed, path in finished(options.runs):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if weights[arm].get(seed) == digest:
            continue
        weights[arm][seed] = digest
        plain, less_mean = measure(facedistill.load(path), tests)
        runs[arm][seed], runs[arm + CENTRED][seed] = plain, less_mean
        print(f"{arm}, seed {seed}: {PRIMARY} {plain[PRIMARY]:.2f}, "
              f"centred {less_mean[PRIMARY]:.2f}", flush=True)  # fmt: skip
    seeds = sorted(set.intersection(*(set(runs[arm]) for arm in ARMS)), key=int)
    result = {
        "unit": "per cent; differences in percentage points",
        "primary": PRIMARY,
        "pairs": {
            name: counts(protocol)
            for name, protocol in (("test", tests.across), ("held out", tests.held_out))
        },
        "images of the mean": len(tests.training),
        "seeds of all arms": [int(seed) for seed in seeds],
        "claims": claims(runs, seeds),
        "runs": runs,
        "weights": weights,
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    for claim in result["claims"]:
        if claim["measure"] == PRIMARY:
            low, high, least = (claim[key] for key in ("low", "high", "least_difference"))
            interval = "" if low is None else f" ({low:+.2f} to {high:+.2f}), tells {least:.2f}"
            print(f"{claim['name']}: {claim['difference']:+.2f}{interval}")


if __name__ == "__main__":
    main()
