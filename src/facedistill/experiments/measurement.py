"""A finished run measured: the report, and what it scored on each pair or face, on disk."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import torch

from facedistill.core.atomic import atomic_path
from facedistill.core.regular_files import open_regular, read_regular
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.landmark_dataset import LandmarkDataset
from facedistill.data.labels import UNLABELLED, Subset
from facedistill.data.pairs.group_table import read_groups
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.evaluate import Evaluation, evaluate
from facedistill.evaluation.image_pairs import pair_identities, resampleable
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import AcrossFoldsProtocol
from facedistill.evaluation.protocols.base import Protocol
from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.statistics.table_rows import Measured, Truth
from facedistill.models.files.model_file import load_model
from facedistill.models.files.run_weights import BEST
from facedistill.recipe.schema import PairsRecipe

TestSet = PairSet | FaceDataset
"""What is measured on: pairs, or for a landmark network faces with landmarks."""

_NONE = np.empty(0)

_SAMPLED = 64
"""Images that distinguish one set from another of the same layout."""


def fingerprint(tests: TestSet, recipe: PairsRecipe | None) -> str:
    """Return a hash of the pairs or faces, some of their images, what is drawn on them and groups.

    Of a landmark list it goes over all landmarks, so that a corrected one is measured anew.
    """
    drawn = recipe.model_dump_json(exclude={"pairs", "groups"}) if recipe else "nothing"
    digest = hashlib.blake2b(f"{len(tests)} {drawn}".encode(), digest_size=16)
    if recipe and recipe.groups:
        digest.update(repr(read_groups(recipe.groups)).encode())
    pairs = isinstance(tests, PairSet)
    faces = tests.faces if isinstance(tests, PairSet) else tests
    arrays: tuple[np.ndarray | None, ...] = (
        (tests.pairs, tests.same, tests.folds)
        if isinstance(tests, PairSet)
        else (_listed_landmarks(tests),)
    )
    for array in (*arrays, faces.labels):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    for index in np.unique(np.linspace(0, len(faces) - 1, _SAMPLED).astype(int)):
        face = faces[int(index)]
        digest.update(face.image.tobytes())
        if not pairs and face.landmarks is not None:
            digest.update(np.ascontiguousarray(face.landmarks).tobytes())
    return digest.hexdigest()


def _listed_landmarks(faces: FaceDataset) -> np.ndarray | None:
    """The landmarks of all faces where a list holds them, (N, P, 2); None elsewhere."""
    if isinstance(faces, LandmarkDataset):
        return faces.pixels
    if isinstance(faces, Subset):
        listed = _listed_landmarks(faces.dataset)
        return None if listed is None else listed[faces.indices]
    return None


def truth_of(tests: TestSet) -> Truth:
    """Return what differences between rows need to know of the pairs or faces."""
    if isinstance(tests, PairSet):
        return Truth(tests.same, resampleable(pair_identities(tests), tests.same))
    known = tests.labels.min() > UNLABELLED
    identities = np.stack([tests.labels, tests.labels], axis=1) if known else None
    return Truth(np.ones(len(tests), np.bool_), identities)


def measurement_path(folder: Path, name: str) -> Path:
    """Return where a run's measurement on the set `name` is."""
    return folder / "measured" / f"{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}.npz"


def measure(
    folder: Path, name: str, tests: TestSet, recipe: PairsRecipe | None, device: torch.device
) -> Measured:
    """Measure a run's best weights on pairs or landmarks, unless that was done before.

    Args:
        folder: The run's folder.
        name: What the comparison calls the set.
        tests: Pairs, or faces with landmarks.
        recipe: What is drawn on them; None for nothing.
        device: Where to embed.
    """
    mark = fingerprint(tests, recipe)
    known = read_measurement(folder, name, mark)
    if known is not None:
        return known
    evaluation = evaluate_best(folder, tests, recipe, device)
    report, figures = evaluation.report, evaluation.to_dict()
    # All pairs are too many to keep.
    scores, items = (_NONE if each is None else each for each in (report.values, report.items))
    document = {"model": model_hash(folder), "tests": mark, "report": figures}
    with (
        atomic_path(measurement_path(folder, name)) as temporary,
        temporary.open("wb") as file,
    ):
        np.savez(file, document=json.dumps(document), scores=scores, items=items)
    return Measured(figures, report.items)


def evaluate_best(
    folder: Path, tests: TestSet, recipe: PairsRecipe | None, device: torch.device
) -> Evaluation:
    """Return what a run's best weights do on pairs or landmarks, by group where there are groups.

    Args:
        folder: The run's folder.
        tests: Pairs, or faces with landmarks.
        recipe: What is drawn on them, and the groups of their identities; None for neither.
        device: Where to embed.
    """
    network = load_model(folder / BEST).to(device)
    options = EvaluationOptions.of(
        mask=recipe.mask if recipe else None,
        groups=read_groups(recipe.groups) if recipe and recipe.groups else None,
        device=device,
    )
    return evaluate(network, protocol_of(tests, recipe), options)


def protocol_of(tests: TestSet, recipe: PairsRecipe | None = None) -> Protocol:
    """Return the protocol by which pairs, or faces with landmarks, are measured."""
    if recipe and recipe.all_pairs and isinstance(tests, PairSet):
        return AcrossFoldsProtocol(tests)
    return PairProtocol(tests) if isinstance(tests, PairSet) else LandmarkProtocol(tests)


def read_measurement(folder: Path, name: str, mark: str) -> Measured | None:
    """Return what was measured of these weights on the set of this fingerprint, if anything was."""
    try:
        with (
            open_regular(measurement_path(folder, name)) as file,
            np.load(file, allow_pickle=False) as stored,
        ):
            document = json.loads(str(stored["document"]))
            items = stored["items"]
        if document["model"] != model_hash(folder) or document["tests"] != mark:
            return None
        return Measured(document["report"], items if len(items) else None)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None  # It is measured anew.


def model_hash(folder: Path) -> str:
    """Return a hash of a run's best weights."""
    return hashlib.blake2b(read_regular(folder / BEST), digest_size=16).hexdigest()
