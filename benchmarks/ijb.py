"""IJB-C's 1:1 protocol at its full size: from files of embeddings to TAR at FAR.

    python benchmarks/ijb.py [--scale 1.0] [--no-reference]

Writes random embeddings (469,375 x 512 float32, plain and mirrored) and protocol files of IJB-C's
size (23,124 templates, 15,658,489 pairs) to a temporary folder, then measures them twice, each in a
process of its own: with `evaluate_ijb`, and with a straightforward vectorised NumPy program written
from the published protocol (`np.where` per template, pairs gathered 100,000 at a time,
scikit-learn's ROC). Prints seconds and peak memory of both, their ratio, and fails if a figure
differs. A scale of 0.05 takes a twentieth of the images and of the pairs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
IMAGES, IDENTITIES, PROBES, PAIRS, GENUINE = 469_375, 3_531, 19_593, 15_658_489, 19_557
DIMENSION = 512


def write_protocol(folder: Path, scale: float, seed: int) -> None:
    """Write embeddings and lists; faces lie around the centre of their identity."""
    rng = np.random.default_rng(seed)
    identities, probes = round(IDENTITIES * scale**0.5), round(PROBES * scale**0.5)
    templates, images = identities + probes, max(round(IMAGES * scale), identities + probes)
    identity = np.concatenate([np.arange(identities), rng.integers(identities, size=probes)])
    # Every template has a face; the rest fall where they may.
    template = np.sort(
        np.append(np.arange(templates), rng.integers(templates, size=images - templates))
    )
    media = template * 1000 + rng.integers(8, size=images)
    centres = rng.normal(size=(identities, DIMENSION)).astype(np.float32)
    for name in ("plain", "flipped"):
        faces = rng.normal(scale=4, size=(images, DIMENSION)).astype(np.float32)
        faces += centres[identity[template]]
        np.save(folder / f"{name}.npy", faces)
    lines = zip(range(images), template.tolist(), media.tolist(), strict=True)
    write_lines(folder / "ijbc_face_tid_mid.txt", (f"{i}.jpg {t} {m}" for i, t, m in lines))
    points = " ".join(["50.0"] * 10)
    scores = rng.uniform(0.5, 1, images).round(3).tolist()
    write_lines(
        folder / "ijbc_name_5pts_score.txt",
        (f"{i}.jpg {points} {score}" for i, score in enumerate(scores)),
    )
    left, right = draw_pairs(
        rng, identity, identities, probes, round(PAIRS * scale), round(GENUINE * scale)
    )
    same = (identity[left] == identity[right]).astype(np.int64)
    pairs = zip(left.tolist(), right.tolist(), same.tolist(), strict=True)
    write_lines(
        folder / "ijbc_template_pair_label.txt", (f"{a} {b} {label}" for a, b, label in pairs)
    )


def draw_pairs(
    rng: np.random.Generator,
    identity: np.ndarray,
    identities: int,
    probes: int,
    count: int,
    genuine: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of one template per identity and of its probes, genuine pairs first."""
    own = np.arange(identities, identities + min(genuine, probes))
    cells = np.sort(rng.choice(identities * probes, size=count, replace=False, shuffle=False))
    left, right = np.divmod(cells, probes)
    different = identity[left] != identity[right + identities]
    left = np.append(identity[own], left[different])
    right = np.append(own, right[different] + identities)
    return left, right


def write_lines(path: Path, lines) -> None:
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)


def with_facedistill(folder: Path) -> dict[str, float]:
    from facedistill.data.formats.ijb_files import read_ijb
    from facedistill.data.formats.npy import NpyFile
    from facedistill.evaluation.protocols.ijb_templates import evaluate_ijb

    files = timed("reading lists", lambda: read_ijb(folder))
    plain, flipped = (NpyFile(folder / f"{name}.npy") for name in ("plain", "flipped"))
    report = timed("figures", lambda: evaluate_ijb(files, plain, flipped, fars=FARS))
    print(report.line())
    return {f"{point.target:.0e}": point.tar for point in report.verification[0].nearest}


def reference(folder: Path) -> dict[str, float]:
    from sklearn.metrics import roc_curve
    from sklearn.preprocessing import normalize

    def columns(name: str, kind: type, wanted: tuple[int, ...]) -> np.ndarray:
        return np.loadtxt(folder / f"ijbc_{name}.txt", dtype=kind, usecols=wanted)

    templates, media = columns("face_tid_mid", int, (1, 2)).T
    scores = columns("name_5pts_score", float, (11,))
    first, second, label = columns("template_pair_label", int, (0, 1, 2)).T
    features = np.load(folder / "plain.npy") + np.load(folder / "flipped.npy")
    features = features * scores[:, None]

    def pooled() -> tuple[np.ndarray, np.ndarray]:
        ids = np.unique(templates)
        sums = np.zeros((len(ids), features.shape[1]))
        for row, template in enumerate(ids):
            (members,) = np.where(templates == template)
            faces, of_medium = features[members], media[members]
            means = [faces[of_medium == medium].mean(axis=0) for medium in np.unique(of_medium)]
            sums[row] = np.sum(means, axis=0)
        return ids, normalize(sums)

    def compared(ids: np.ndarray, pooled: np.ndarray) -> np.ndarray:
        row = np.zeros(ids.max() + 1, int)
        row[ids] = np.arange(len(ids))
        cosines = np.zeros(len(first))
        for start in range(0, len(first), 100_000):
            part = slice(start, start + 100_000)
            cosines[part] = np.sum(pooled[row[first[part]]] * pooled[row[second[part]]], -1)
        return cosines

    ids, embeddings = timed("pooling", pooled)
    cosines = timed("comparing", lambda: compared(ids, embeddings))
    far, tar, _ = (np.flipud(x) for x in timed("ROC", lambda: roc_curve(label, cosines)))
    return {f"{target:.0e}": float(tar[np.argmin(abs(far - target))]) for target in FARS}


def timed(name: str, work):
    start = perf_counter()
    result = work()
    print(f"  {name}: {perf_counter() - start:.1f} s", flush=True)
    return result


def measured(work, folder: Path) -> tuple[dict[str, float], float, float]:
    """Return the figures, seconds and peak memory in GB of one way."""
    start = perf_counter()
    figures = work(folder)
    seconds = perf_counter() - start
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1e6
    return figures, seconds, peak


def in_own_process(work, folder: Path) -> tuple[dict[str, float], float, float]:
    print(f"{work.__name__}:", flush=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        figures, seconds, peak = pool.apply(measured, (work, folder))
    print(f"  in all {seconds:.1f} s, at most {peak:.2f} GB, mapped files included")
    return figures, seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"scale {options.scale:g}, {platform.machine()}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_protocol(folder, options.scale, options.seed)
        figures, seconds, _ = in_own_process(with_facedistill, folder)
        if options.no_reference:
            return
        expected, slow, _ = in_own_process(reference, folder)
    # The reference pools in single precision, so a pair at a threshold may change sides.
    if any(abs(figures[far] - expected[far]) > 1e-3 for far in expected):
        raise SystemExit(f"the two ways disagree: {figures} and {expected}")
    print(f"{slow / seconds:.1f} times faster")


if __name__ == "__main__":
    main()
