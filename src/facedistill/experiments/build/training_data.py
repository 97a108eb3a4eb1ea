"""The faces of a recipe: split into training and validation, ordered and loaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from accelerate import Accelerator

from facedistill.core.errors import FacedistillError
from facedistill.data.alignment_check import warn_unless_aligned
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import (
    Subset,
    check_labels,
    identities_held_out,
    split_identities,
    split_images,
    stated_number,
)
from facedistill.data.loading.identity_order import IdentityOrder
from facedistill.data.loading.loader import Loader, Order
from facedistill.data.open import open_dataset
from facedistill.data.pairs.fold_faces import check_folds
from facedistill.data.pairs.group_table import read_groups
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_drawing import most_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.stored_orientation import warn_of_turned
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.evaluation.protocols.fairness import check_comparable
from facedistill.experiments.build.teacher import check_views
from facedistill.experiments.measurement import TestSet
from facedistill.faces.landmarks import FIVE
from facedistill.recipe.schema import PairsRecipe, Recipe

_LAST = (
    "the last weights are taken for the best (data.validation_identities: 0 asks for that without "
    "this warning)"
)
SPLIT_SEED = 0
"""Of the validation identities: the same for every seed of an experiment."""


def split_data(recipe: Recipe) -> tuple[FaceDataset, TestSet | None]:
    """Open the training data, and split off identities for validation if the recipe wants it.

    The split does not depend on the recipe's seed: the seeds of one experiment share their
    validation identities, so that their figures can be compared.

    Returns:
        The faces to train on, labelled 0..M-1, and pairs of the identities split off (for a
        landmark network their faces); of unlabelled faces all, and None.

    Raises:
        FacedistillError: If a landmark network is to learn from faces without landmarks.
    """
    data = recipe.data
    faces = open_dataset(
        data.train,
        relabel=data.relabel,
        five=_five(recipe),
        root=data.root,
        skip=data.on_error == "skip",
    )
    if recipe.student.landmarks is None:
        warn_unless_aligned(faces)
    warn_of_turned(faces)
    identities = check_labels(faces.labels, faces.name)
    if data.validation_images:
        if recipe.student.landmarks is None:
            raise FacedistillError(
                "data.validation_images is for landmark networks: set student.landmarks, or "
                "data.validation_identities instead"
            )
        if data.validation_identities and identities:
            raise FacedistillError(
                "data.validation_images splits off images of identities that are trained on, and "
                "data.validation_identities identities that are not: set one of them to 0"
            )
        _require_landmarks(faces, "data.validation_images: 0 validates on none")
        count = _images_split_off(faces, data.validation_images)
        training, held_out = split_images(len(faces), count, SPLIT_SEED)
        return Subset(faces, training), Subset(faces, held_out)
    if data.validation_identities and not identities:
        has = "no labels"
        if recipe.student.landmarks is not None:
            has = "landmarks and no identities (data.validation_images splits off images)"
        warnings.warn(
            f"{faces.name} has {has}: no identities are split off to validate on, {_LAST}",
            stacklevel=2,
        )
    if not data.validation_identities or not identities:
        return faces, None
    count = _identities_split_off(faces.name, data.validation_identities, identities)
    if not count:
        return faces, None
    training, held_out = split_identities(faces.labels, count, SPLIT_SEED)
    validation = Subset(faces, held_out)
    if recipe.student.landmarks is not None:
        _require_landmarks(validation, "data.validation_identities: 0 leaves them out")
        return Subset(faces, training), validation
    pairs = _pairs_drawn(validation, count, data.validation_pairs)
    if not pairs:
        return faces, None
    return Subset(faces, training), PairSet.from_dataset(validation, pairs, SPLIT_SEED)


def _images_split_off(faces: FaceDataset, wanted: int) -> int:
    """Return how many images are split off: as many as wanted, or a fifth of a small set."""
    few = len(faces) // 5
    if wanted < len(faces) or not few:
        return wanted
    warnings.warn(
        f"{faces.name} has {len(faces):,} images, data.validation_images is {wanted:,}: {few:,} "
        "are split off to validate on",
        stacklevel=3,
    )
    return few


def check_identities(faces: FaceDataset, objectives: Mapping[str, Any]) -> None:
    """Refuse labels that tell nothing apart where an objective learns from labels.

    Raises:
        FacedistillError: If all faces are of one identity, or every identity has one alone.
    """
    learning = [name for name, each in objectives.items() if "run.identities" in each.needs]
    identities = int(faces.labels.max()) + 1
    if not learning or not identities:
        return
    if identities == 1:
        found, wanted = f"all {len(faces):,} images are of one identity", "several identities"
    elif identities == len(faces):
        found, wanted = "every identity has one image", "two images or more of identities"
    else:
        return
    raise FacedistillError(
        f"{faces.name}: {found}, and objective '{learning[0]}' learns to tell identities apart: "
        f"give {wanted}, a folder for each, or take a recipe that needs no labels (fcd, "
        "coupleface_unlabelled)"
    )


def _identities_split_off(name: str, wanted: int | float, identities: int) -> int:
    """Return how many identities are split off: as many as wanted, or what a small set gives."""
    count = identities_held_out(wanted, identities)
    if count == wanted or (isinstance(wanted, float) and count == round(wanted * identities) > 0):
        return count
    what = f"{count:,} are split off to validate on" if count else f"none is split off, {_LAST}"
    warnings.warn(
        f"{name} has {identities:,} identities, data.validation_identities is "
        f"{stated_number(wanted, identities)}: {what}",
        stacklevel=3,
    )
    return count


def _pairs_drawn(validation: FaceDataset, identities: int, wanted: int) -> int:
    """Return how many pairs are drawn: as many as wanted, or all that a small set gives."""
    most = most_pairs(validation.labels)
    if most >= wanted:
        return wanted
    what = f"{most:,} are drawn" if most else f"the identities are trained on, {_LAST}"
    warnings.warn(
        f"{identities:,} identities split off give {most:,} pairs, half of them mated, and "
        f"data.validation_pairs is {wanted:,}: {what}",
        stacklevel=3,
    )
    return most


def open_test_set(recipe: Recipe, source: PairsRecipe) -> TestSet:
    """Open what a recipe's network is measured on: pairs, or landmarks if it finds them.

    Raises:
        FacedistillError: If it is not there or not readable, or its groups or folds cannot be
            compared.
    """
    if recipe.student.landmarks is not None:
        faces = open_dataset(source.pairs, five=_five(recipe))
        _require_landmarks(faces, "give a landmark list, or a folder with .pts files")
        return faces
    pairset = open_pairs(source.pairs)
    if source.groups:
        check_comparable(pairset, read_groups(source.groups))
    if source.all_pairs:
        check_folds(pairset)
    return pairset


def _require_landmarks(faces: FaceDataset, remedy: str) -> None:
    if faces[0].landmarks is None:
        raise FacedistillError(
            f"{faces.name} has no landmarks to measure a landmark network by: {remedy}"
        )


def _five(recipe: Recipe) -> bool:
    """Whether larger markups of landmarks are reduced: not where a network is to find them."""
    return recipe.student.landmarks in (None, FIVE)


def _cut_size(recipe: Recipe, teachers: Sequence[Teacher | None]) -> int | None:
    """Side of the faces that a landmark network learns from, which a list may cut in any size."""
    if recipe.student.landmarks is None:
        return None
    inputs = [each.network.input.size for each in teachers if isinstance(each, NetworkTeacher)]
    return max(recipe.student.input.size, *inputs, 0)


def create_order(recipe: Recipe, faces: FaceDataset, accelerator: Accelerator) -> Order:
    """Return the order of the faces, with this process's share of each batch.

    Raises:
        FacedistillError: If the faces are fewer than a batch, or do not divide so by identity.
    """
    training, images = recipe.training, recipe.data.images_per_person
    rank, world = accelerator.process_index, accelerator.num_processes
    if images is None:
        batch = _batch_of(len(faces), training.batch_size, training.accumulate * world)
        return Order(len(faces), batch, recipe.seed, rank, world)
    return IdentityOrder(
        len(faces),
        _batch_of_identities(faces, images, training.batch_size, training.accumulate * world),
        recipe.seed,
        rank,
        world,
        labels=faces.labels,
        images=images,
        accumulate=training.accumulate,
    )


def _batch_of(images: int, wanted: int, shares: int) -> int:
    """Return the batch size: as wanted, or the largest that a small set and its shares give."""
    whole = images // shares * shares
    if wanted <= images or whole < 2 * shares:
        return wanted
    warnings.warn(
        f"{images:,} images to train on do not fill a batch of {wanted:,} (training.batch_size): "
        f"{whole:,} are taken",
        stacklevel=3,
    )
    return whole


def _batch_of_identities(faces: FaceDataset, images: int, wanted: int, shares: int) -> int:
    """Return the batch size: as wanted, or as a small set has identities with two images."""
    counts = np.bincount(faces.labels) if faces.labels.min() >= 0 else np.zeros(1)
    useful = int((counts > 1).sum())
    whole = useful // shares * shares * images
    if wanted <= whole or whole < 2 * shares * images:
        return wanted
    warnings.warn(
        f"{useful:,} identities with two images or more do not fill a batch of {wanted:,} "
        f"(training.batch_size) with {images} each (data.images_per_person): {whole:,} are taken",
        stacklevel=3,
    )
    return whole


def open_loader(
    recipe: Recipe,
    faces: FaceDataset,
    order: Order,
    teachers: Sequence[Teacher | None],
    accelerator: Accelerator,
) -> Loader:
    """Return what reads the faces in this order and augments them by the recipe.

    Raises:
        FacedistillError: If a teacher cannot know the images that come out.
    """
    data = recipe.data
    for teacher in teachers:
        check_views(recipe, teacher)
    return Loader(
        faces,
        order,
        augmentation=data.augmentation,
        workers=data.workers,
        cache=data.cache,
        image_size=data.image_size or _cut_size(recipe, teachers),
        keep_clean=any(teacher is not None and teacher.wants_clean for teacher in teachers),
        on_error=data.on_error,
        device=accelerator.device,
    )
