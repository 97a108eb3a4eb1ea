"""Measure the runs of a study and write its result.json.

    python -m studies.measure NAME RUNS FACES PAIRS [--out result.json]

RUNS is the folder of the comparison, FACES the folder with train.rec, PAIRS celeba_test.bin. Runs
that are not finished are left out, and figures of an earlier result.json stay: it can be run at any
time, again and again, and seeds may come from several machines, each with its own RUNS.

Networks are measured as they are after the last step (`last.safetensors`), as they are and centred:
less the mean embedding of every fifth training image. Images are embedded at the size they are
stored in; the network scales them.
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
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.experiments.build.training_data import SPLIT_SEED
from facedistill.models.inference import Network, embed_images
from studies.claims import claim_text, claims, complete_seeds
from studies.study import CENTRED, Study, studies

FARS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
EVERY = 5
"""Of the training images one in so many gives the mean that is subtracted."""


@dataclass(frozen=True)
class Tests:
    """What every network is measured on.

    Attributes:
        images: Those of the listed pairs.
        listed: The listed pairs.
        across: All pairs of their images across folds.
        held_out: All pairs of the identities held out.
        training: The images that give the mean.
    """

    images: FaceDataset
    listed: PairProtocol
    across: AcrossFoldsProtocol
    held_out: AllPairsProtocol
    training: FaceDataset

    @classmethod
    def open(cls, faces: Path, pairs: Path, identities: int) -> Tests:
        """Open the pairs, and split identities off the faces as the training does."""
        pairset, dataset = open_pairs(pairs), open_dataset(faces)
        training, held_out = split_identities(dataset.labels, identities, SPLIT_SEED)
        return cls(
            pairset.faces,
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
    test = embed(network, tests.images)
    held_out = embed(network, tests.held_out.faces)
    mean = embed(network, tests.training).mean(0)
    return (
        figures(tests, test, held_out),
        figures(tests, centred(test, mean), centred(held_out, mean)),
    )


# Runs


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


def finished(study: Study, folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Arm, seed and last weights of every finished run."""
    for arm in study.arms:
        seeds = (folder / "runs" / arm).glob("seed-*")
        for run in sorted(seeds, key=lambda path: int(path.name[5:])):
            if (run / "summary.json").exists():
                yield arm, run.name[5:], run / "last.safetensors"


@dataclass
class Measured:
    """Figures of a study's runs, by arm and seed, and the weights that gave them.

    Attributes:
        runs: Figures; each arm stands there as it is and centred.
        weights: SHA-256 of the weights.
    """

    runs: dict[str, dict[str, dict[str, float]]]
    weights: dict[str, dict[str, str]]

    @classmethod
    def load(cls, study: Study, path: Path) -> Measured:
        """What an earlier result.json knows."""
        known = json.loads(path.read_text()) if path.exists() else {}
        weights = {arm: dict(known.get("weights", {}).get(arm, {})) for arm in study.arms}
        names = [arm + end for arm in study.arms for end in ("", CENTRED)]
        return cls({name: dict(known.get("runs", {}).get(name, {})) for name in names}, weights)

    def add(self, arm: str, seed: str, path: Path, tests: Tests) -> bool:
        """Measure a run, if its weights are not those that are known; say whether it was."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.weights[arm].get(seed) == digest:
            return False
        plain, less_mean = measure(facedistill.load(path), tests)
        self.runs[arm][seed], self.runs[arm + CENTRED][seed] = plain, less_mean
        self.weights[arm][seed] = digest
        return True


def result(study: Study, measured: Measured, tests: Tests) -> dict[str, Any]:
    """What result.json holds."""
    return {
        "unit": "per cent; differences in percentage points",
        "primary": study.primary,
        "pairs": {
            name: counts(protocol)
            for name, protocol in (("test", tests.across), ("held out", tests.held_out))
        },
        "images of the mean": len(tests.training),
        "seeds of all arms": [int(seed) for seed in complete_seeds(study, measured.runs)],
        "claims": claims(study, measured.runs),
        "runs": measured.runs,
        "weights": measured.weights,
    }


def main() -> None:
    """Measure what is finished and not yet measured."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=studies())
    parser.add_argument("runs", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    study = Study.load(options.study)
    out = options.out or study.result_path
    tests = Tests.open(options.faces, options.pairs, study.validation_identities)
    measured = Measured.load(study, out)
    for arm, seed, path in finished(study, options.runs):
        if measured.add(arm, seed, path, tests):
            figure, less_mean = (measured.runs[arm + end][seed] for end in ("", CENTRED))
            print(f"{arm}, seed {seed}: {study.primary} {figure[study.primary]:.2f}, "
                  f"centred {less_mean[study.primary]:.2f}", flush=True)  # fmt: skip
    found = result(study, measured, tests)
    out.write_text(json.dumps(found, indent=1) + "\n")
    for claim in found["claims"]:
        if claim["measure"] == study.primary:
            print(f"{claim['name']}: {claim_text(claim)}")


if __name__ == "__main__":
    main()
