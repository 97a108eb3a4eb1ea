"""How well what a teacher's objectives compare tells identities, before any student learns it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import Say
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.views.resized import Resized
from facedistill.distill.objectives.base import Objective
from facedistill.distill.teachers.base import Network, Teacher
from facedistill.engine.accelerator import open_accelerator
from facedistill.evaluation.metrics.roc import far_name
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import AcrossFoldsProtocol, AllPairsProtocol
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.experiments.build.student import create_student
from facedistill.experiments.build.teacher import open_teacher
from facedistill.experiments.build.teacher_stages import run_teacher_stages
from facedistill.experiments.build.training_data import split_data
from facedistill.experiments.build.training_step import create_training_step
from facedistill.models.inference import BATCH, infer
from facedistill.models.outputs import Outputs
from facedistill.recipe.schema import Recipe
from facedistill.report.table import Column, markdown_table

TOGETHER = 1024
"""Images over which features are standardised, drawn at random: as over a large batch."""

FARS = (1e-2, 1e-3)
"""False accept rates over all pairs."""

EMBEDDING = "embedding"
"""The row that others are compared with."""


@dataclass(frozen=True)
class Probed:
    """What one kind of features tells of identities.

    Attributes:
        name: `embedding`, `tokens` or `feature_map` (all pixels side by side), or
            `OBJECTIVE.NAME` for what an objective makes of them.
        dimensions: Of one image's features.
        accuracy: On the listed pairs, ten folds.
        tars: Over all pairs, by `far_name`; None where there are too few impostors.
    """

    name: str
    dimensions: int
    accuracy: float
    tars: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        tars = {f"tar@{name}": tar for name, tar in self.tars.items()}
        return {"dimensions": self.dimensions, "accuracy": self.accuracy, **tars}


def probe(recipe: Recipe, source: str | Path | None, say: Say) -> list[Probed]:
    """Measure a recipe's teacher by its embedding, its pixels, and what objectives make of them.

    Faces are compared by the cosine of their features, in the plain view alone: mirrored, features
    of places are of other places. A stage that an objective lets the teacher learn first is
    trained, or found, as in a run. Prompts are left out.

    Args:
        recipe: With a teacher that is a network.
        source: Pairs (`.bin`, folder with pairs.txt): accuracy is that of the list, and all images
            of different folds are compared. None takes the recipe's validation identities.
        say: Takes a line about what goes on.

    Returns:
        The embedding first.

    Raises:
        FacedistillError: If there is no such teacher, no objective makes anything of its outputs,
            or there is nothing to measure on.
    """
    accelerator = open_accelerator(recipe.training.device, "fp32", compiled=False)
    device = accelerator.device
    faces, held_out = split_data(recipe)
    pairs = open_pairs(source) if source is not None else held_out
    if not isinstance(pairs, PairSet):
        raise FacedistillError(
            "there is nothing to measure on: give --pairs, or set data.validation_identities"
        )
    if recipe.teacher is None:
        raise FacedistillError("the recipe has no teacher: give --set teacher.model=")
    teacher = open_teacher(recipe.teacher, faces, recipe.seed, device)
    network = _network_of(teacher)
    torch.manual_seed(recipe.seed)
    student = create_student(recipe.student)
    step, own, _ = create_training_step(recipe, student, faces, teacher, {}, device)
    objectives = step.named_objectives
    run_teacher_stages(recipe, objectives, {None: own}, faces, device, say)
    step.to(device)
    features = _features(network, pairs, objectives, device)
    if not any("." in name for name in features):
        raise FacedistillError(
            "no objective of the recipe makes features of the teacher's outputs to compare: add "
            "one that does (urfm)"
        )
    listed, everything = PairProtocol(pairs), _all_pairs(pairs)
    return [_measured(name, rows, listed, everything) for name, rows in features.items()]


def table(probed: list[Probed]) -> str:
    """Return the figures as a table, with what each row is below the embedding."""
    (embedding, *_) = probed
    rows = [
        {"features": each.name, "dimensions": each.dimensions, "accuracy": each.accuracy}
        | {f"tar@{name}": tar for name, tar in each.tars.items()}
        | {"below": 100 * (embedding.accuracy - each.accuracy)}
        for each in probed
    ]
    columns = [
        Column("features"),
        Column("dimensions"),
        Column("accuracy", digits=2, percent=True),
        *(Column(f"tar@{name}", digits=2, percent=True) for name in embedding.tars),
        Column("below", "points of accuracy below the embedding", digits=2),
    ]
    return markdown_table(rows, columns)


def _network_of(teacher: Teacher) -> Network:
    network = teacher.plain
    if network is None:
        raise FacedistillError(
            f"{teacher.name} knows its own images only: give --set teacher.model= the network"
        )
    return network


def _features(
    network: Network, pairs: PairSet, objectives: dict[str, Objective], device: torch.device
) -> dict[str, np.ndarray]:
    """Return float32 (N, F) features of the images of pairs, by name."""
    own = {
        need.removeprefix("teacher.")
        for objective in objectives.values()
        for need in objective.needs
        if need.startswith("teacher.")
    }
    needs = {EMBEDDING, *(own & {"tokens", "feature_map"} & network.gives)}
    found: dict[str, np.ndarray] = {}
    order = np.random.default_rng(0).permutation(len(pairs))
    for places, outputs in _answers(network, pairs, order, needs, device):
        rows = {need: getattr(outputs, need).flatten(1) for need in sorted(needs)}
        for name, objective in objectives.items():
            made = objective.target_features(outputs)
            rows |= {f"{name}.{key}": each for key, each in made.items()}
        for name, each in rows.items():
            if name not in found:
                found[name] = np.empty((len(pairs), each.shape[1]), np.float32)
            found[name][places] = each.float().cpu().numpy()
    return {EMBEDDING: found.pop(EMBEDDING), **found}


def _answers(
    network: Network, pairs: PairSet, order: np.ndarray, needs: set[str], device: torch.device
) -> Iterator[tuple[np.ndarray, Outputs]]:
    """Give places of images and the network's outputs for them, many images at a time."""
    faces = Resized(pairs.faces, network.input.size)
    # The last group has as many as the others, within one: fewer would be standardised worse.
    for places in np.array_split(order, max(1, round(len(order) / TOGETHER))):
        passed = infer(
            network,
            (faces[int(place)] for place in places),
            len(places),
            needs,
            image=lambda sample: sample.image,
            batch_size=BATCH,
            device=device,
            description="probe",
        )
        parts = [batch.outputs for batch in passed]
        joined = Outputs()
        for need in needs:
            setattr(joined, need, torch.cat([getattr(part, need) for part in parts]).to(device))
        yield places, joined


def _all_pairs(pairs: PairSet) -> AllPairsProtocol | None:
    """All pairs of labelled images, else across the folds; None where folds share images."""
    if pairs.identities is not None:
        return AllPairsProtocol(pairs.faces)
    try:
        return AcrossFoldsProtocol(pairs)
    except FacedistillError as error:
        warnings.warn(f"no true accept rates over all pairs: {error}", stacklevel=3)
        return None


def _measured(
    name: str, rows: np.ndarray, listed: PairProtocol, everything: AllPairsProtocol | None
) -> Probed:
    stored = StoredEmbeddings(name, rows)
    report = listed.evaluate(stored, EvaluationOptions(resamples=0, kfold="exact"))
    assert isinstance(report, PairReport)
    tars: dict[str, float | None] = dict.fromkeys(map(far_name, FARS))
    if everything is not None:
        options = EvaluationOptions(fars=FARS, resamples=0)
        points = everything.evaluate_stored(stored, options).points
        tars = {far_name(point.target): point.tar for point in points}
    return Probed(name, rows.shape[1], report.result.accuracy, tars)
