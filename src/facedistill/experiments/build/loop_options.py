"""Optimiser, learning rate and length of a recipe's training."""

from __future__ import annotations

import torch

from facedistill.data.loading.loader import Order
from facedistill.engine.loop import LoopOptions
from facedistill.engine.optimizer import create_optimizer
from facedistill.engine.schedule import Schedule, create_schedule
from facedistill.engine.step import TrainingStep
from facedistill.recipe.schema import Recipe
from facedistill.recipe.training_length import training_length


def loop_options(recipe: Recipe, order: Order, data: str) -> LoopOptions:
    """Return how long and how a recipe trains.

    Args:
        recipe: The recipe.
        order: Of its training data.
        data: Fingerprint of that data.
    """
    training = recipe.training
    steps, evaluate_every = training_length(training, order.steps_per_epoch)
    return LoopOptions(
        steps=steps,
        evaluate_every=evaluate_every,
        schedule=_schedule(recipe, steps),
        log_every=training.log_every,
        checkpoint_seconds=60 * training.checkpoint_minutes,
        accumulate=training.accumulate,
        clip=training.clip,
        ema=training.ema,
        compile=training.compile,
        tensorboard=training.tensorboard,
        recipe=recipe.hash,
        data=data,
    )


def recipe_optimizer(recipe: Recipe, step: TrainingStep) -> torch.optim.Optimizer:
    """Return a recipe's optimiser over all that trains."""
    options = recipe.optimizer
    prompts = recipe.teacher.prompts if recipe.teacher else None
    return create_optimizer(
        step,
        options.name,
        options.lr,
        weight_decay=options.weight_decay,
        momentum=options.momentum,
        nesterov=options.nesterov,
        betas=options.betas,
        decay_all=options.decay_all,
        factors={"teacher.": prompts.lr} if prompts else None,
    )


def _schedule(recipe: Recipe, steps: int) -> Schedule:
    options = recipe.schedule
    return create_schedule(
        options.name,
        steps,
        warmup=round(options.warmup * steps),
        final=options.final,
        milestones=options.milestones,
        gamma=options.gamma,
        peak=options.peak,
    )
