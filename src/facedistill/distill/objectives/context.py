"""What an objective may ask of the run: the other half of the contract in `base`.

An objective states what it asks for in `needs`, beside the outputs of the networks, and asks when
it is built. Whoever knows the run gives a provider for each need that the run can serve; a value is
made when it is first asked for, so that nobody waits for what no objective wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean

if TYPE_CHECKING:
    from facedistill.distill.bank.mining import Neighbours
    from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
    from facedistill.models.heads.class_head import ClassHead

Provider = Callable[..., Any]
"""Makes the value of a need; what it returns as None the run does not have."""

NEEDS: dict[str, str] = {
    "run.identities": "needs labels and the training data has none: remove it, give labelled data, "
    "or take a recipe that needs none (fcd, coupleface_unlabelled)",
    "run.neighbours": "finds similar identities in a bank and the run has none: make one with "
    "`facedistill embed` and give teacher.bank",
    "run.class_centres": "takes class centres from a teacher of labelled faces and the run has "
    "none: give labelled data, and teacher.bank or teacher.model",
    "run.class_head": "needs the class head that the teacher was trained with and there is none "
    "of the training identities: give teacher.model: the folder of a run that classified them",
    "run.teacher_classes": "learns classes and the teacher has no classes to follow: give the "
    "folder of a run that classified, or a bank of labelled data",
    "run.channels": "compares hidden layers and the teacher has no hidden layer to look at (a bank "
    "or an ONNX file keeps the embedding only): give teacher.model: a .safetensors file or a run's "
    "folder",
    "run.pixel_features": "compares pixel features and the run's teacher gives embeddings only (as "
    "most banks and ONNX files do): give teacher.model: a .safetensors, .pt, .pth or .ckpt file, "
    "and no teacher.bank, or one made with `facedistill embed --tokens`",
    "run.saliency": "needs the teacher's saliency map, which no bank keeps: give teacher.model "
    "too, or take position: relative",
    "run.faces": "asks for the name of the training faces, which the run does not say",
    "run.teacher": "asks what its teacher is, which the run does not say",
    "run.images_per_identity": "compares images of one identity, which batches drawn at random may "
    "not have: set data.images_per_person, to 4 say",
    "run.landmarks": "asks for the points of labels and student, which the run does not say",
}
"""All that can be asked for, and how a run without it is refused, after the objective's name."""


@dataclass(frozen=True)
class TrainingFaces:
    """What the student learns from.

    Attributes:
        name: What to call the data in messages.
        fingerprint: Of the data: equal ones have the same images and labels.
    """

    name: str
    fingerprint: str


@dataclass(frozen=True)
class TeacherFacts:
    """What the teacher of an objective is.

    Attributes:
        name: What to call it in messages.
        trains: Whether something of it (prompts) trains beside the student.
        moves_apart: Whether it may see a face mirrored or moved otherwise than the student does.
        head: The class head that its logits come from, if it has one.
    """

    name: str
    trains: bool = False
    moves_apart: bool = False
    head: ClassHead | None = None


@dataclass(frozen=True)
class LandmarkCounts:
    """How many points a face has.

    Attributes:
        data: In the labels; None where the data has no landmarks.
        student: That the student is to give; None where that is left open.
    """

    data: int | None
    student: int | None


class RunContext:
    """The run as an objective sees it, from its teacher's side.

    Example:
        >>> context = RunContext(4, 8, identities=3, providers={
        ...     "run.class_centres": lambda: torch.eye(3, 8),
        ... })
        >>> context.student_size, context.require_teacher(), context.require_identities()
        (4, 8, 3)
        >>> context.class_centres.shape
        torch.Size([3, 8])
        >>> context.asked_by("rad").neighbours(5)
        Traceback (most recent call last):
        ...
        facedistill.core.errors.FacedistillError: objective 'rad' finds similar identities in a \
bank and the run has none: make one with `facedistill embed` and give teacher.bank

    Args:
        student_size: D, dimension of the student's embedding.
        teacher_size: E, of the teacher's; None when there is no teacher.
        identities: M, number of classes in the training labels; 0 when the data has no labels.
        providers: By need, what makes its value; arguments of `get` are handed on to it. Needs
            that are left out the run cannot serve.

    Raises:
        FacedistillError: If a provider is of an unknown need.
    """

    def __init__(
        self,
        student_size: int,
        teacher_size: int | None = None,
        identities: int = 0,
        providers: Mapping[str, Provider] | None = None,
    ) -> None:
        for need in providers or {}:
            check_need(need)
        self.student_size = student_size
        self._teacher_size, self._identities = teacher_size, identities
        self._providers = dict(providers or {})
        self._values: dict[tuple[Any, ...], Any] = {}
        self.objective: str | None = None
        self.asked: set[str] = set()

    def asked_by(self, objective: str) -> RunContext:
        """Return the same run for one objective: it is named in messages, its requests noted.

        Attributes `objective` and `asked` of the result are that name and those needs.
        """
        own = copy(self)
        own.objective, own.asked = objective, set()
        return own

    def find(self, need: str, *arguments: Any) -> Any:
        """Return what is needed, made on the first call; None if the run does not have it.

        Args:
            need: A key of `NEEDS`.
            *arguments: Hashable ones, for the provider.

        Raises:
            FacedistillError: If nothing of that name can be asked for.
        """
        check_need(need)
        self.asked.add(need)
        key = (need, *arguments)
        if key not in self._values:
            provider = self._providers.get(need)
            self._values[key] = provider(*arguments) if provider else None
        return self._values[key]

    def get(self, need: str, *arguments: Any) -> Any:
        """Return what is needed; see `find`.

        Raises:
            FacedistillError: If the run does not have it, saying what to do.
        """
        value = self.find(need, *arguments)
        if value is None:
            raise self.lacking(need)
        return value

    def lacking(self, need: str) -> FacedistillError:
        """Return the error that refuses a run without what is needed, saying what to do.

        Args:
            need: A key of `NEEDS`.
        """
        return self._refused(NEEDS[need])

    def check_classes(self) -> None:
        """Refuse to compare logits of the teacher with those of a student of other identities.

        Raises:
            FacedistillError: Naming the data of both.
        """
        teacher, faces = self.teacher, self.faces
        if teacher and faces and teacher.head:
            teacher.head.check_identities(faces.fingerprint, faces.name, teacher.name)

    def require_teacher(self) -> int:
        """Return E, dimension of the teacher's embedding.

        Raises:
            FacedistillError: If the run has no teacher; so do most of the others.
        """
        if self._teacher_size is None:
            raise self._refused("needs a teacher: give teacher.bank or teacher.model")
        return self._teacher_size

    def require_identities(self) -> int:
        """Return M, number of training identities: `run.identities`."""
        self.asked.add("run.identities")
        if self._identities < 1:
            raise self.lacking("run.identities")
        return self._identities

    def neighbours(self, count: int) -> Neighbours:
        """Return each identity's `count` nearest others by the teacher: `run.neighbours`."""
        value: Neighbours = self.get("run.neighbours", count)
        return value

    @property
    def class_centres(self) -> torch.Tensor:
        """The teacher's class centres, float32 (M, E) of unit length: `run.class_centres`."""
        value: torch.Tensor = self.get("run.class_centres")
        return value

    @property
    def class_head(self) -> ClassHead | None:
        """The head the teacher was trained with, if of these identities: `run.class_head`."""
        value: ClassHead | None = self.find("run.class_head")
        return value

    @property
    def teacher_classes(self) -> int:
        """Number of classes of which the teacher gives logits: `run.teacher_classes`."""
        value: int = self.get("run.teacher_classes")
        return value

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of the feature maps of student and teacher: `run.channels`."""
        value: tuple[int, int] = self.get("run.channels")
        return value

    @property
    def pixel_features(self) -> tuple[PixelFeatures, PixelFeatures]:
        """Where the pixel features of student and teacher are: `run.pixel_features`."""
        self.require_teacher()
        value: tuple[PixelFeatures, PixelFeatures] = self.get("run.pixel_features")
        return value

    @property
    def saliency(self) -> torch.Tensor:
        """The teacher's saliency map, float32 (side, side), 0 to 6: `run.saliency`."""
        value: torch.Tensor = self.get("run.saliency")
        return value

    @property
    def faces(self) -> TrainingFaces | None:
        """What the student learns from: `run.faces`; None outside a run."""
        value: TrainingFaces | None = self.find("run.faces")
        return value

    @property
    def teacher(self) -> TeacherFacts | None:
        """What the objective's teacher is: `run.teacher`; None without one."""
        value: TeacherFacts | None = self.find("run.teacher")
        return value

    @property
    def images_per_identity(self) -> int:
        """Images of an identity in a batch, where that is set: `run.images_per_identity`."""
        value: int = self.get("run.images_per_identity")
        return value

    @property
    def landmarks(self) -> LandmarkCounts:
        """How many points labels and student have: `run.landmarks`."""
        value: LandmarkCounts = self.get("run.landmarks")
        return value

    def _refused(self, what: str) -> FacedistillError:
        name = f"objective '{self.objective}'" if self.objective else "an objective"
        return FacedistillError(f"{name} {what}")


def check_need(need: str) -> None:
    """Refuse a need that no run knows.

    Raises:
        FacedistillError: Naming the nearest known one, or all.
    """
    if need not in NEEDS:
        raise FacedistillError(
            f"unknown need '{need}' of an objective: {did_you_mean(need, NEEDS)}"
        )
