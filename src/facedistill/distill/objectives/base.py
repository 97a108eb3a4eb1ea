"""What an objective is: the contract that every method of this room fulfils.

Together with `context`, which says what an objective may ask of the run, this is all that a method
has to know. `registry` makes it known under the name that recipes use.

Example:
    A method in a file of its own, which trains as it stands:

    >>> from facedistill.distill.objectives.registry import create_objective, objective
    >>> @objective("example_distance")
    ... class ExampleDistance(Objective):
    ...     '''Mean Euclidean distance of the embeddings.'''
    ...
    ...     needs = frozenset({"student.embedding", "teacher.embedding"})
    ...
    ...     def __init__(self, context, *, power: float = 1.0):
    ...         super().__init__()
    ...         if context.student_size != context.require_teacher():
    ...             raise ValueError("the embeddings differ in dimension")
    ...         self.power = power
    ...
    ...     def forward(self, student, teacher, batch):
    ...         distance = (student.embedding - teacher.embedding).norm(dim=1)
    ...         return (distance ** self.power).mean(), {"distance": distance.mean().detach()}
    >>> from facedistill.distill.objectives.context import RunContext
    >>> made = create_objective("example_distance", RunContext(2, 2), power=2.0)
    >>> ones, zeros = Outputs(embedding=torch.ones(3, 2)), Outputs(embedding=torch.zeros(3, 2))
    >>> loss, parts = made(ones, zeros, None)
    >>> round(loss.item(), 4), list(parts)
    (2.0, ['distance'])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import nn

from facedistill.data.batch import Batch
from facedistill.models.outputs import Outputs

if TYPE_CHECKING:
    from facedistill.distill.objectives.context import RunContext
    from facedistill.distill.objectives.teacher_stage import TeacherStage

Parts = dict[str, torch.Tensor]
"""Detached scalars by name, to log."""

Loss = tuple[torch.Tensor, Parts]
"""A scalar to minimise, and its parts."""

Gather = Callable[[torch.Tensor], torch.Tensor]
"""Gives the rows of all processes for this one's, in the order of the whole batch."""


class AskedNetwork(Protocol):
    """A network that gives outputs for images."""

    def __call__(self, images: torch.Tensor, needs: Collection[str] = ...) -> Outputs:
        """Return the outputs named in `needs` for uint8 RGB (B, H, W, 3)."""


@dataclass(frozen=True)
class Artifact:
    """A file that an objective leaves beside every model file of a run.

    Attributes:
        name: What it is, for messages.
        save: Writes it, given the model file's path and the network that was saved there.
    """

    name: str
    save: Callable[[Path, Any], None]


@dataclass(frozen=True)
class MapsOverFaces:
    """Where both networks look, in the same faces.

    Attributes:
        student: float32 (B, L, side, side) on the CPU: L maps of each of B faces; L is square.
        teacher: The same of the teacher, on the grid of its own.
    """

    student: torch.Tensor
    teacher: torch.Tensor


@dataclass(frozen=True)
class MapOfFace:
    """One map that lies over the mean face.

    Attributes:
        values: float32 (side, side) on the CPU, 0 to `top`.
        top: Highest value that it can have.
        caption: What the values are.
    """

    values: torch.Tensor
    top: float
    caption: str


@dataclass(frozen=True)
class Figures:
    """What an objective can show after training; whoever draws it knows no method.

    Attributes:
        maps: By the name of the figure's file, without suffix.
        face_maps: Likewise.
        numbers: Figures for the run's summary.
    """

    maps: Mapping[str, MapsOverFaces] = field(default_factory=dict)
    face_maps: Mapping[str, MapOfFace] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


class Objective(nn.Module, ABC):
    """One term of the loss. It is built as `cls(context, **options)`, see `RunContext`.

    An objective owns whatever trains with it (class centres, projections). In `needs` it says which
    outputs it reads (`student.embedding`, `student.feature_map`, `student.logits`,
    `teacher.embedding`, `teacher.logits`, ..., fields of `Outputs`), what else of the batch
    (`batch.landmarks`), and what it asks of the run (`run.neighbours`, ..., keys of
    `context.NEEDS`). The loop asks the networks for just those.

    Attributes:
        name: The registered name, which is its file's.
        needs: Those, of the class or, where they depend on options, of the instance.
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

    @classmethod
    def check(cls, context: RunContext, options: Mapping[str, Any]) -> None:
        """Refuse a run that does not suit it; by default every run does.

        All objectives of a run are asked before any is built, since to build one may mean a pass
        over the training faces.

        Args:
            context: The run.
            options: The objective's own, as the recipe states them.

        Raises:
            FacedistillError: Saying what does not suit and what to do.
        """

    def artifacts(self) -> Sequence[Artifact]:
        """Return what it leaves beside every model file: by default nothing."""
        return ()

    def teacher_stage(self) -> TeacherStage | None:
        """Return what of it learns from the teacher alone, before the student: by default nothing.

        Whoever runs it trains that, or takes it from its file, and hands it to `take_stage`.
        """
        return None

    def take_stage(self, stage: TeacherStage) -> None:
        """Take over what `teacher_stage` gave, once it has learned."""

    def target_features(self, teacher: Outputs) -> Mapping[str, torch.Tensor]:
        """Return what it makes of the teacher's outputs to compare the student with: (B, F) each.

        For finding out how well that tells identities: rows of images are compared by cosine. By
        default there is nothing, as for methods that compare what the teacher gives as it is.

        Args:
            teacher: The outputs that it needs, of many images: what depends on the batch depends on
                these.
        """
        return {}

    def figures(self, student: AskedNetwork, teacher: AskedNetwork, faces: torch.Tensor) -> Figures:
        """Return what it can show of the trained networks; by default nothing.

        Args:
            student: As it is shipped, in evaluation mode.
            teacher: As it is after training, prompts included.
            faces: uint8 RGB (B, H, H, 3), on the networks' device.
        """
        return Figures()


class Classifier(Objective):
    """An objective that classifies identities and so can give the student's logits to others.

    Attributes:
        gives_logits: Whether it can: not where the classes are divided among processes.
    """

    gives_logits: bool = True

    @property
    @abstractmethod
    def scale(self) -> float:
        """What its logits multiply cosines by."""

    @abstractmethod
    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return the (B, M) class scores of an embedding, without margin."""
