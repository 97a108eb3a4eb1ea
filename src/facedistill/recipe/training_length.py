"""How many steps a recipe trains, and after how many it evaluates."""

from __future__ import annotations

from typing import NamedTuple

from facedistill.recipe.schema import TrainingRecipe

AUTO_EPOCHS = 20
"""Epochs of `epochs: auto`, of a set large enough."""

LEAST_STEPS = 2000
"""Steps of `epochs: auto` at the least: 20 epochs of a small set are too few to learn from."""


class TrainingLength(NamedTuple):
    """Length of a run in optimiser steps.

    Attributes:
        steps: Of the whole run, 1 or more.
        evaluate_every: Steps between evaluations, 1 or more.
    """

    steps: int
    evaluate_every: int


def training_length(training: TrainingRecipe, steps_per_epoch: int) -> TrainingLength:
    """Return how long a recipe trains on a set of faces.

    `training.steps` wins over `training.epochs`. With `epochs: auto` a set is repeated 20 times;
    one so small that these are fewer than 2,000 steps is repeated until they are as many, and what
    counts as an epoch between evaluations is then a twentieth of the run.

    Args:
        training: The recipe's.
        steps_per_epoch: Batches that the set gives, 1 or more.
    """
    auto = training.epochs == "auto"
    epochs = AUTO_EPOCHS if training.epochs == "auto" else training.epochs
    steps = training.steps or max(1, round(epochs * steps_per_epoch), LEAST_STEPS if auto else 1)
    epoch = max(steps_per_epoch, steps / AUTO_EPOCHS) if auto else steps_per_epoch
    every = max(1, round(training.evaluate_every * epoch))
    return TrainingLength(steps, training.evaluate_steps or every)
