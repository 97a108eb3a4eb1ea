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
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import optimize, stats

import facedistill

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
FOLDS = 10
VALIDATION_IDENTITIES, SPLIT_SEED = 200, 0
"""As the training splits them off, the same for every seed."""
EVERY = 5
"""Of the training images one in so many gives the mean that is subtracted."""
POWER, LEVEL = 0.8, 0.05
_BATCH = 128
_MAGIC = 0xCED7230A


# What is compared


class _Closed(pickle.Unpickler):
    """Knows bytes, bools and lists; pickles of protocol 2 spell bytes as a call of encode."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"the pairs ask for {module}.{name}")
        return super().find_class(module, name)


class Pairs:
    """Listed pairs, and all pairs of their images whose identities follow.

    Attributes:
        images: Encoded, distinct by content.
        listed: int (P, 2), the pairs of the list, indices into the images.
        same: bool (P,).
        folds: One array of images each, of disjoint identities.
        genuine: int (G, 2), images of one identity by the list, transitively.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            entries, same = _Closed(file).load()
        rows: dict[bytes, int] = {}
        listed = [rows.setdefault(bytes(entry), len(rows)) for entry in entries]
        self.images = list(rows)
        self.listed = np.array(listed).reshape(-1, 2)
        self.same = np.array(same, bool)
        fold = np.repeat(np.arange(FOLDS), len(self.same) // FOLDS)
        if len(fold) != len(self.same):
            raise SystemExit(f"{path}: {len(self.same)} pairs are not ten equal folds")
        self.folds = [np.unique(self.listed[fold == each]) for each in range(FOLDS)]
        if sum(map(len, self.folds)) != len(self.images):
            raise SystemExit(f"{path}: an image is in two folds, whose identities are not disjoint")
        self.genuine = self._genuine()

    def _genuine(self) -> np.ndarray:
        identity = np.arange(len(self.images))
        for one, other in self.listed[self.same]:
            identity[identity == identity[other]] = identity[one]
        return _genuine_pairs(identity)

    def scores(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosines of the genuine pairs, and of all pairs across folds."""
        blocks = [
            (embeddings[self.folds[one]] @ embeddings[self.folds[other]].T).ravel()
            for one in range(FOLDS)
            for other in range(one)
        ]
        return _cosines(embeddings, self.genuine), np.concatenate(blocks)


class Identities:
    """All pairs of labelled images."""

    def __init__(self, images: list[bytes], labels: np.ndarray) -> None:
        self.images = images
        self.labels = labels
        self.genuine = _genuine_pairs(labels)

    def scores(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosines of the pairs of one identity, and of all others."""
        others = np.triu(self.labels[:, None] != self.labels)
        return _cosines(embeddings, self.genuine), (embeddings @ embeddings.T)[others]


def _genuine_pairs(identity: np.ndarray) -> np.ndarray:
    return np.argwhere(np.triu(identity[:, None] == identity, 1))


def _cosines(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.einsum("pd,pd->p", embeddings[pairs[:, 0]], embeddings[pairs[:, 1]])


def read_faces(folder: Path) -> tuple[list[bytes], np.ndarray]:
    """Read the encoded images of train.rec and their labels."""
    images, labels = [], []
    content = (folder / "train.rec").read_bytes()
    start = 0
    while start < len(content):
        magic, length = struct.unpack_from("<II", content, start)
        if magic != _MAGIC or length >> 29:
            raise SystemExit(f"train.rec: no whole record at byte {start}")
        flag, label = struct.unpack_from("<If", content, start + 8)
        if not flag:  # others describe the set, or an identity
            images.append(content[start + 8 + 24 : start + 8 + length])
            labels.append(int(label))
        start += 8 + -(-length // 4) * 4
    return images, np.array(labels)


def split(images: list[bytes], labels: np.ndarray) -> tuple[Identities, list[bytes]]:
    """The identities held out, and the training images that give the mean."""
    generator = np.random.default_rng(SPLIT_SEED)
    chosen = generator.choice(np.unique(labels), VALIDATION_IDENTITIES, replace=False)
    held_out = np.isin(labels, chosen)
    held_out_faces = Identities([images[i] for i in np.flatnonzero(held_out)], labels[held_out])
    return held_out_faces, [images[i] for i in np.flatnonzero(~held_out)[::EVERY]]


# Figures


def embed(network: Any, images: list[bytes]) -> np.ndarray:
    """f(x) + f(mirrored x), of unit length, float32 (N, D)."""
    parts = []
    for start in range(0, len(images), _BATCH):
        batch = [
            cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            for each in images[start : start + _BATCH]
        ]
        parts.append(network.embed(np.stack(batch)).cpu().numpy())
    return np.concatenate(parts)


def tar_at_far(genuine: np.ndarray, impostors: np.ndarray, target: float) -> float:
    """The best true accept rate of a threshold whose false accept rate does not exceed the target.

    Of N impostors k may be accepted, the largest k of which k / N does not exceed the target: so
    the threshold lies above the score of number k + 1.
    """
    count = len(impostors)
    allowed = int(target * count) + 1
    while allowed / count > target:
        allowed -= 1
    highest_refused = np.partition(impostors, count - allowed - 1)[count - allowed - 1]
    return float((genuine > highest_refused).mean())


def accuracy(cosines: np.ndarray, same: np.ndarray) -> float:
    """Ten contiguous folds, threshold of the other nine, squared distances 0, 0.01, ... 3.99."""
    right = ((2 - 2 * cosines) < np.arange(0, 4, 0.01)[:, None]) == same
    by_fold = right.reshape(len(right), FOLDS, -1).sum(2)
    best = (by_fold.sum(1, keepdims=True) - by_fold).argmax(0)
    return float(by_fold[best, np.arange(FOLDS)].sum() / len(same))


def figures(pairs: Pairs, faces: Identities, test: np.ndarray, held_out: np.ndarray) -> dict:
    """Every measure, in per cent."""
    found = {}
    for name, those, embeddings in (("test", pairs, test), ("held out", faces, held_out)):
        genuine, impostors = those.scores(embeddings)
        for far, target in FARS.items():
            found[f"{name} TAR@{far}"] = 100 * tar_at_far(genuine, impostors, target)
    found["test accuracy"] = 100 * accuracy(_cosines(test, pairs.listed), pairs.same)
    return found


def centred(embeddings: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Less the mean, of unit length again."""
    moved = embeddings - mean
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def measure(
    network: Any, pairs: Pairs, faces: Identities, training: list[bytes]
) -> tuple[dict, dict]:
    """Figures of a network as it is, and centred."""
    test, held_out = embed(network, pairs.images), embed(network, faces.images)
    mean = embed(network, training).mean(0)
    return (
        figures(pairs, faces, test, held_out),
        figures(pairs, faces, centred(test, mean), centred(held_out, mean)),
    )


# Claims


def least_difference(deviation: float, count: int) -> float:
    """The smallest mean of paired differences found with the power, two-sided at the level."""
    freedom = count - 1
    critical = stats.t.ppf(1 - LEVEL / 2, freedom)

    def lacking(shift: float) -> float:
        return stats.nct.sf(critical, freedom, shift) - POWER

    # In standard errors; far above the critical value the power is 1.
    return optimize.brentq(lacking, 0.1, 2 * critical + 2) * deviation / count**0.5


def mean_of(values: list[float]) -> dict[str, Any]:
    """Mean and 95 % Student interval; no interval of one value."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return {"difference": mean, "low": None, "high": None, "seeds": count,
                "least_difference": None}  # fmt: skip
    deviation = float(np.std(values, ddof=1))
    half = stats.t.ppf(1 - LEVEL / 2, count - 1) * deviation / count**0.5
    return {
        "difference": mean,
        "low": mean - half,
        "high": mean + half,
        "seeds": count,
        "least_difference": least_difference(deviation, count),
    }


def claims(runs: dict[str, dict[str, dict]], seeds: list[str]) -> list[dict[str, Any]]:
    """Every contrast on every measure, the primary one first."""
    if not seeds:
        return []
    measures = sorted(runs[ARMS[0]][seeds[0]], key=lambda name: (name != PRIMARY, name))
    return [
        {"name": f"{one} - {other}", "measure": measure}
        | mean_of([runs[one][s][measure] - runs[other][s][measure] for s in seeds])
        for measure in measures
        for one, other in CONTRASTS
    ]


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
    pairs = Pairs(options.pairs)
    faces, training = split(*read_faces(options.faces))
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
        plain, less_mean = measure(facedistill.load(path), pairs, faces, training)
        runs[arm][seed], runs[arm + CENTRED][seed] = plain, less_mean
        print(f"{arm}, seed {seed}: {PRIMARY} {plain[PRIMARY]:.2f}, "
              f"centred {less_mean[PRIMARY]:.2f}", flush=True)  # fmt: skip
    seeds = sorted(set.intersection(*(set(runs[arm]) for arm in ARMS)), key=int)
    genuine, impostors = (len(part) for part in pairs.scores(np.zeros((len(pairs.images), 1))))
    others = [len(part) for part in faces.scores(np.zeros((len(faces.images), 1)))]
    result = {
        "unit": "per cent; differences in percentage points",
        "primary": PRIMARY,
        "pairs": {
            "test": {"images": len(pairs.images), "genuine": genuine, "impostor": impostors},
            "held out": {
                "images": len(faces.images), "genuine": others[0], "impostor": others[1]
            },
        },
        "images of the mean": len(training),
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
