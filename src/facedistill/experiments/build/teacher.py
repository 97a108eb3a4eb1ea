"""The teachers of a recipe: opened, and their names and licences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from facedistill.core.errors import FacedistillError, naming
from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.teachers.base import Network, Teacher, View
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.prompted import PromptedNetwork, PromptedTeacher
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.open_network import open_network
from facedistill.models.files.run_weights import best_of
from facedistill.models.heads.class_head import ClassHead, head_path, load_head
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.recipe.schema import PromptsRecipe, Recipe, TeacherRecipe
from facedistill.report.documents.model_card import UNKNOWN


def open_teacher(
    recipe: TeacherRecipe, faces: FaceDataset, seed: int = 0, device: torch.device | None = None
) -> Teacher:
    """Open the recipe's teacher: the bank where there is one, else the network.

    Args:
        recipe: What it is.
        faces: The training faces, which a bank must be of.
        seed: Of the prompts, if it is to have some.
        device: Where a network runs; the CPU by default.

    Raises:
        FacedistillError: If the bank is of other data, or of another teacher than `model`.
    """
    model = best_of(recipe.model) if recipe.model else None
    with naming("teacher.model"):
        network = open_network(model, input=recipe.input, output=recipe.output) if model else None
    if recipe.bank is None:
        assert network is not None
        precision = _precision(recipe, network)
        if recipe.prompts:
            return _prompted(network, recipe.prompts, recipe.view, seed, precision, device)
        return NetworkTeacher(network, recipe.view, head_of(model, network), precision, device)
    bank = Bank(recipe.bank)
    bank.check_dataset(faces)
    if network is not None:
        bank.check_teacher(network.fingerprint, network.name)
    if isinstance(network, FaceNetwork):
        network.eval().requires_grad_(False).to(device)
    return BankTeacher(bank, recipe.view, plain=network)


def _precision(recipe: TeacherRecipe, network: FaceNetwork | OnnxNetwork) -> torch.dtype | None:
    if recipe.precision is None:
        return None
    if isinstance(network, OnnxNetwork):
        raise FacedistillError(
            f"teacher.precision: {network.name} is an ONNX file, which has its own: leave it out"
        )
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[recipe.precision]


def _prompted(
    network: FaceNetwork | OnnxNetwork,
    prompts: PromptsRecipe,
    view: View,
    seed: int,
    precision: torch.dtype | None,
    device: torch.device | None,
) -> PromptedTeacher:
    """The teacher with prompts to train; students start alike with and without them."""
    if not isinstance(network, FaceNetwork):
        raise FacedistillError(
            f"teacher.prompts: {network.name} is an ONNX file, in which nothing can train: give "
            "teacher.model a .safetensors file, or leave prompts out"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prompted = PromptedNetwork(network, prompts.count, checkpointing=prompts.checkpointing)
        return PromptedTeacher(prompted.to(device), view, precision)


def head_of(model: Path | None, network: Network) -> ClassHead | None:
    """Return the class head that a run has left beside its model file, if there is one.

    Raises:
        FacedistillError: If it is damaged, or of another network.
    """
    if model is None or not isinstance(network, FaceNetwork) or not head_path(model).exists():
        return None
    return load_head(head_path(model), network)


def check_views(recipe: Recipe, teacher: Teacher | None) -> None:
    """Refuse views that a bank does not hold, and images too small for an online teacher.

    Raises:
        FacedistillError: Naming the settings that do not go together.
    """
    size = recipe.data.image_size
    if isinstance(teacher, NetworkTeacher) and size and size < teacher.network.input.size:
        raise FacedistillError(
            f"data.image_size {size} shrinks the faces before {teacher.name} sees them, and it "
            f"takes {teacher.network.input.size}: leave data.image_size out (each network resizes "
            "for itself), or teach from a bank"
        )
    if not isinstance(teacher, BankTeacher) or teacher.view == "clean":
        return
    if not recipe.data.augmentation.flip_only:
        raise FacedistillError(
            "the bank knows plain and flipped images only, and data.augmentation does more: set "
            "teacher.view: clean (the teacher sees the clean image), or teach online with "
            "teacher.model and no teacher.bank"
        )
    if recipe.data.augmentation.flip > 0 and "flipped" not in teacher.bank.info.views:
        raise FacedistillError(
            f"bank {teacher.bank.folder} has no flipped view and data.augmentation.flip is on: set "
            "teacher.view: clean (the plain view then teaches mirrored images too), or "
            "embed with --flip"
        )


def origin(recipe: Recipe, teachers: Sequence[Teacher | None]) -> tuple[str | None, str | None]:
    """Return names and licences of the teacher networks, None where none is stated.

    A bank knows those of the network that it came from.

    Args:
        recipe: Which may state the licences.
        teachers: The run's teacher, or None, and the further ones, as the recipe orders them.
    """
    recipes = [recipe.teacher, *recipe.teachers.values()]
    origins = [
        _origin_of(its_recipe, teacher)
        for its_recipe, teacher in zip(recipes, teachers, strict=True)
        if its_recipe is not None and teacher is not None
    ]
    names = dict.fromkeys(name for name, _ in origins)
    licences = dict.fromkeys(licence or UNKNOWN for _, licence in origins)
    return " and ".join(names) or None, stated(" and ".join(licences) or UNKNOWN)


def _origin_of(recipe: TeacherRecipe, teacher: Teacher) -> tuple[str, str | None]:
    licence = stated(recipe.licence)
    if isinstance(teacher, BankTeacher):
        info = teacher.bank.info
        return info.teacher_name, licence or stated(info.licence)
    return teacher.name, licence


def stated(licence: str) -> str | None:
    """Return a licence, or None for one that is stated as unknown."""
    return None if licence == UNKNOWN else licence
