"""What an objective is: the contract every method of this room fulfils, and their registry."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean
from facedistill.data.batch import Batch
from facedistill.distill.bank.mining import Neighbours
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.models.heads.class_head import ClassHead
from facedistill.models.heads.margin import MarginHead
from facedistill.models.outputs import Outputs

Parts = dict[str, torch.Tensor]
"""Detached scalars by name, to log."""

Loss = tuple[torch.Tensor, Parts]
"""A scalar to minimise, and its parts."""

Mine = Callable[[int], Neighbours]
"""Gives each training identity's K nearest others by the teacher."""

Centres = Callable[[], torch.Tensor]
"""Gives the teacher's class centres: its mean unit embedding (M, D) of each training identity."""

Head = Callable[[], ClassHead | None]
"""Gives the class head the teacher was trained with, if it has one of the training identities."""

Saliency = Callable[[], torch.Tensor]
"""Gives the teacher's saliency map (side, side), 0 to 6."""

Gather = Callable[[torch.Tensor], torch.Tensor]
"""Gives the rows of all processes for this one's, in the order of the whole batch."""

_registry: dict[str, type[Objective]] = {}


@dataclass(frozen=True)
class Setting:
    """What every objective may know about the run when it is built.

    Attributes:
        student_size: Dimension of the student's embedding.
        teacher_size: Dimension of the teacher's embedding; None when there is no teacher.
        identities: Number of classes M in the training labels; 0 when the data has no labels.
        mine: Finds the identities that the teacher confuses; None when there is no bank.
        teacher_centres: Gives the teacher's class centres; None when there is no teacher to take
            them from, or the data has no labels.
        teacher_head: Gives the class head that the teacher was trained with; None when there is no
            online teacher.
        student_channels: Channels of the student's feature map.
        teacher_channels: Channels of the teacher's feature map; None when it gives none.
        teacher_classes: Classes of which the teacher can give logits; None when there are none.
        student_pixels: Where the student's last pixel features are.
        teacher_pixels: Where the teacher's are; None when it gives embeddings only.
        saliency: Gives the teacher's saliency map; None when it gives embeddings only.
    """

    student_size: int
    teacher_size: int | None
    identities: int
    mine: Mine | None = None
    teacher_centres: Centres | None = None
    teacher_head: Head | None = None
    student_channels: int = 0
    teacher_channels: int | None = None
    teacher_classes: int | None = None
    student_pixels: PixelFeatures | None = None
    teacher_pixels: PixelFeatures | None = None
    saliency: Saliency | None = None

    def require_teacher(self, objective: str) -> int:
        """Return the teacher's dimension.

        Raises:
            FacedistillError: If the run has no teacher.
        """
        if self.teacher_size is None:
            raise FacedistillError(
                f"objective '{objective}' needs a teacher: give teacher.bank or teacher.model"
            )
        return self.teacher_size

    def require_labels(self, objective: str) -> int:
        """Return the number of identities.

        Raises:
            FacedistillError: If the training data is unlabelled.
        """
        if self.identities < 1:
            raise FacedistillError(
                f"objective '{objective}' needs labels and the training data has none: "
                "remove it or give labelled data"
            )
        return self.identities

    def require_neighbours(self, objective: str, count: int) -> Neighbours:
        """Return each identity's `count` nearest others by the teacher.

        Raises:
            FacedistillError: If the run has no bank to find them in.
        """
        if self.mine is None:
            raise FacedistillError(
                f"objective '{objective}' finds similar people in a bank and the run has none: "
                "make one with `facedistill embed` and give teacher.bank"
            )
        return self.mine(count)

    def require_centres(self, objective: str) -> torch.Tensor:
        """Return the teacher's class centres, float32 (M, D) of unit length.

        Raises:
            FacedistillError: If the run has no teacher, or no labels, to take them from.
        """
        if self.teacher_centres is None:
            raise FacedistillError(
                f"objective '{objective}' takes class centres from a teacher of labelled faces and "
                "the run has none: give labelled data, and teacher.bank or teacher.model"
            )
        return self.teacher_centres()

    def require_pixels(self, objective: str) -> tuple[PixelFeatures, PixelFeatures]:
        """Return where the pixel features of student and teacher are.

        Raises:
            FacedistillError: If either network gives embeddings only.
        """
        self.require_teacher(objective)
        if self.student_pixels is None or self.teacher_pixels is None:
            raise FacedistillError(
                f"objective '{objective}' compares pixel features and the run's teacher gives "
                "embeddings only (as a bank and an ONNX file do): give teacher.model: a "
                ".safetensors, .pt, .pth or .ckpt file, and no teacher.bank"
            )
        return self.student_pixels, self.teacher_pixels

    def require_saliency(self, objective: str) -> torch.Tensor:
        """Return the teacher's saliency map, float32 (side, side), 0 to 6.

        Raises:
            FacedistillError: If there is no teacher to estimate it from.
        """
        if self.saliency is None:
            raise FacedistillError(
                f"objective '{objective}' needs the teacher's saliency map and there is no online "
                "teacher: give teacher.model, or take position: relative"
            )
        return self.saliency()


class Objective(nn.Module, ABC):
    """One term of the loss.

    An objective owns whatever trains with it (class centres, projections) and says in `needs`
    which outputs it reads: `student.embedding`, `student.feature_map`, `student.logits`,
    `teacher.embedding`, `teacher.logits`, ... The loop asks the networks for just those.

    Attributes:
        needs: Those outputs.
        adapts_teacher: Whether its gradient brings what trains of a teacher (prompts) towards the
            student, through the teacher's outputs that it needs.
    """

    name: ClassVar[str]
    needs: frozenset[str]
    adapts_teacher: ClassVar[bool] = True

    @abstractmethod
    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the scalar loss (mean over the batch) and detached parts to log by name."""

    def observe(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """See a micro-batch before `forward`, at every step of training, on or off.

        For objectives that remember embeddings of earlier steps: by default nothing is done.
        """

    def finish_step(self, gather: Gather) -> None:
        """End an optimiser step, all of whose micro-batches have been observed; on or off.

        Args:
            gather: Brings the rows of all processes together; every process must call it alike.
        """


class Classifier(Objective):
    """An objective that classifies identities and so can give the student's logits to others.

    Attributes:
        head: Of which its logits are; its `scale` is what they multiply cosines by.
    """

    head: MarginHead

    @abstractmethod
    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return the (B, M) class scores of an embedding, without margin."""


AnyObjective = TypeVar("AnyObjective", bound=type[Objective])


def objective(name: str) -> Callable[[AnyObjective], AnyObjective]:
    """Register an objective class under the name that recipes use."""

    def register(cls: AnyObjective) -> AnyObjective:
        if name in _registry:
            raise ValueError(f"objective '{name}' is registered twice")
        cls.name = name
        _registry[name] = cls
        return cls

    return register


def objective_names() -> list[str]:
    """Return the names of all objectives, sorted."""
    _import_methods()
    return sorted(_registry)


def create_objective(name: str, setting: Setting, **arguments: Any) -> Objective:
    """Build the objective `name` for a run.

    Args:
        name: A registered name.
        setting: Facts about the run.
        **arguments: The objective's own options, by the names in its constructor.

    Raises:
        FacedistillError: If the name or an argument is unknown, or the run cannot serve it.
    """
    _import_methods()
    if name not in _registry:
        raise FacedistillError(f"unknown objective '{name}': {did_you_mean(name, _registry)}")
    cls = _registry[name]
    parameters = inspect.signature(cls).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    forwards = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    for key in arguments:
        if key not in known and not forwards:
            raise FacedistillError(
                f"unknown option '{key}' of objective '{name}': {did_you_mean(key, known)}"
            )
    _check_kinds(name, cls, arguments)
    try:
        return cls(setting, **arguments)
    except (TypeError, ValueError) as error:
        raise FacedistillError(f"objective '{name}': {error}") from error


_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}
"""What an option of a type must be, in words."""


def _check_kinds(name: str, cls: type[Objective], arguments: Mapping[str, Any]) -> None:
    """Refuse what is not of its option's type, such as the text "false", which Python calls true.

    Raises:
        FacedistillError: Naming the option.
    """
    types = get_type_hints(cls.__init__)
    for key in arguments.keys() & types.keys():
        try:
            TypeAdapter(types[key]).validate_python(arguments[key], strict=True)
        except ValidationError:
            of = [each for each in get_args(types[key]) or (types[key],) if each is not NoneType]
            must = _KINDS.get(of[0]) or f"one of {', '.join(map(str, of))}"
            raise FacedistillError(
                f"objective '{name}': {key} is {arguments[key]!r}, it must be {must}"
            ) from None


def _import_methods() -> None:
    """Import every file of this room once, so that a new method registers by being there."""
    package = importlib.import_module("facedistill.distill.objectives")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
