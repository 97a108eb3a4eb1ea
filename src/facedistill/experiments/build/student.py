"""The network to train, as a recipe describes it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch

from facedistill.core.errors import FacedistillError, naming
from facedistill.core.progress import Say, say_nothing
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.registry import create_backbone
from facedistill.recipe.schema import NetworkRecipe


def create_student(recipe: NetworkRecipe, say: Say = say_nothing) -> FaceNetwork:
    """Build the network to train, with the weights of `init` if the recipe names it.

    A network of the same architecture and arguments with another head, for another task, gives all
    that is not of the head's shape; the rest starts fresh, and `say` receives a line on it.

    Raises:
        FacedistillError: If `init` is of another architecture, or was fed other colours.
    """
    student = FaceNetwork.create(
        recipe.network,
        recipe.input,
        landmarks=recipe.landmarks,
        embedding_size=recipe.embedding_size,
        **recipe.arguments,
    )
    if recipe.init is None:
        return student
    with naming("student.init"):
        start = load_model(recipe.init)
    shapes = {key: weight.shape for key, weight in start.backbone.state_dict().items()}
    if start.architecture != recipe.network or _shapes(recipe, start.embedding_size) != shapes:
        raise FacedistillError(
            f"student.init {recipe.init} is {start.architecture} {start.arguments} for "
            f"{start.input.size} pixels, not {recipe.network} {recipe.arguments} for "
            f"{student.input.size}"
        )
    if replace(start.input, size=student.input.size) != student.input:
        raise FacedistillError(
            f"student.init {recipe.init} was trained on {start.input}, the recipe has "
            f"{student.input}: give student.input the same color, mean and std"
        )
    weights, given = student.weights(), start.weights()
    taken = {
        k: given[k] for k, mine in weights.items() if k in given and given[k].shape == mine.shape
    }
    student.load_weights({**weights, **taken})
    student.metadata = ModelMetadata(trained_on=start.metadata.trained_on)
    fresh = [key for key in weights if key not in taken]
    new = f"all but {', '.join(fresh)}" if fresh else "all"
    say(f"student.init: {new} of {len(weights)} weights are those of {recipe.init}")
    return student


def check_network(recipe: NetworkRecipe) -> None:
    """Refuse a network that cannot be built.

    Raises:
        FacedistillError: Naming what is unknown, or out of range.
    """
    _shapes(recipe, recipe.embedding_size)


def _shapes(recipe: NetworkRecipe, embedding_size: int) -> dict[str, torch.Size]:
    """Shapes of the student's weights if its embedding had this size; no memory is taken."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        backbone = create_backbone(
            recipe.network,
            input_size=recipe.input.size,
            **{**recipe.arguments, "embedding_size": embedding_size},
        )
    return {key: weight.shape for key, weight in backbone.state_dict().items()}
