"""A finished run on a set of pairs: the report, and which pairs it decided rightly, on disk."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import torch

from facedistill.atomic import atomic_path
from facedistill.data.pairs import PairSet
from facedistill.evaluation.pairs import evaluate_pairs, pair_identities, resampleable
from facedistill.evaluation.rows import Measured, Truth
from facedistill.models.model_file import load_model
from facedistill.recipe import PairsRecipe
from facedistill.training.folder import BEST

_SAMPLED = 64
"""Images that tell one set of pairs from another of the same layout."""


def pairs_fingerprint(pairs: PairSet, recipe: PairsRecipe | None) -> str:
    """Return a hash of the pairs, some of their images, and what is drawn on them."""
    drawn = recipe.model_dump_json(exclude={"pairs"}) if recipe else "nothing"
    digest = hashlib.blake2b(f"{len(pairs)} {drawn}".encode(), digest_size=16)
    for array in (pairs.pairs, pairs.same, pairs.folds, pairs.identities):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    for index in np.unique(np.linspace(0, len(pairs) - 1, _SAMPLED).astype(int)):
        digest.update(pairs.image(int(index)).tobytes())
    return digest.hexdigest()


def truth_of(pairs: PairSet) -> Truth:
    """Return what paired differences need to know of the pairs."""
    return Truth(pairs.same, resampleable(pair_identities(pairs), pairs.same))


def measurement_path(folder: Path, name: str) -> Path:
    """Return where a run's measurement on the set `name` is."""
    return folder / "measured" / f"{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}.npz"


def measure(
    folder: Path, name: str, pairs: PairSet, recipe: PairsRecipe | None, device: torch.device
) -> Measured:
    """Measure a run's best weights on pairs, unless that was done before.

    Args:
        folder: The run's folder.
        name: What the comparison calls the pairs.
        pairs: The pairs.
        recipe: What is drawn on them; None for nothing.
        device: Where to embed.
    """
    fingerprint = pairs_fingerprint(pairs, recipe)
    known = read_measurement(folder, name, fingerprint)
    if known is not None:
        return known
    network = load_model(folder / BEST).to(device)
    report = evaluate_pairs(network, pairs, mask=recipe.mask if recipe else None)
    correct = report.result.correct
    document = {"model": _model_hash(folder), "pairs": fingerprint, "report": report.to_dict()}
    with (
        atomic_path(measurement_path(folder, name)) as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, document=json.dumps(document), scores=report.scores, correct=correct)
    return Measured(document["report"], correct)  # type: ignore[arg-type]


def read_measurement(folder: Path, name: str, fingerprint: str) -> Measured | None:
    """Return what was measured of these weights on these pairs; None if nothing (readable) was."""
    try:
        with np.load(measurement_path(folder, name), allow_pickle=False) as stored:
            document = json.loads(str(stored["document"]))
            correct = stored["correct"].astype(np.bool_)
        if document["model"] != _model_hash(folder) or document["pairs"] != fingerprint:
            return None
        return Measured(document["report"], correct)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None  # It is measured anew.


def _model_hash(folder: Path) -> str:
    return hashlib.blake2b((folder / BEST).read_bytes(), digest_size=16).hexdigest()
