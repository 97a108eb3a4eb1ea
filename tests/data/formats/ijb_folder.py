"""A tiny folder of IJB protocol files."""

from pathlib import Path

import numpy as np

IDENTITIES = 12


def write_ijb(folder: Path, prefix: str = "ijbc", seed: int = 0) -> dict[str, np.ndarray]:
    """Write all files of one protocol: per identity two templates of 1..4 faces in 1..2 media."""
    rng = np.random.default_rng(seed)
    meta = folder / "meta"
    meta.mkdir(parents=True)
    templates, media, identities = [], [], []
    for template in range(2 * IDENTITIES):
        for _ in range(rng.integers(1, 5)):
            templates.append(10 + 3 * template)
            media.append(int(rng.integers(2)) + 100 * template)
            identities.append(template % IDENTITIES)
    order = rng.permutation(len(templates))
    templates, media, identities = (np.array(x)[order] for x in (templates, media, identities))
    scores = rng.uniform(0.2, 1, len(order)).round(3)
    points = rng.uniform(0, 112, (len(order), 10)).round(2)
    gallery, probes = np.arange(IDENTITIES) * 3 + 10, (np.arange(IDENTITIES) + IDENTITIES) * 3 + 10
    pairs = np.array([(a, b) for a in gallery for b in probes])
    same = (pairs[:, 0] - 10) // 3 == (pairs[:, 1] - 10) // 3 - IDENTITIES

    def write(name: str, lines: list[str]) -> None:
        (meta / f"{prefix}{name}").write_text("\n".join(lines) + "\n")

    write(
        "_face_tid_mid.txt",
        [f"{i + 1}.jpg {t} {m}" for i, (t, m) in enumerate(zip(templates, media, strict=True))],
    )
    write(
        "_name_5pts_score.txt",
        [
            f"{i + 1}.jpg {' '.join(map(str, p))} {s}"
            for i, (p, s) in enumerate(zip(points, scores, strict=True))
        ],
    )
    write(
        "_template_pair_label.txt",
        [f"{a} {b} {int(s)}" for (a, b), s in zip(pairs, same, strict=True)],
    )
    header = "TEMPLATE_ID,SUBJECT_ID,FILENAME"
    for name, first in (("G1", 0), ("G2", 1)):
        chosen = range(first, IDENTITIES, 2)
        rows = [f"{gallery[p]},{p + 500},img/{i}.jpg" for p in chosen for i in range(2)]
        write(f"_1N_gallery_{name}.csv", [header, *rows])
    write("_1N_probe_mixed.csv", [header, *(f"{probes[p]},{p + 500},x" for p in range(IDENTITIES))])
    return {
        "templates": templates,
        "media": media,
        "identities": identities,
        "scores": scores,
        "points": points,
        "pairs": pairs,
        "same": same,
        "gallery": gallery,
        "probes": probes,
    }
