"""The teachers of a run, asked together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from facedistill.data.batch import Batch
from facedistill.distill.teachers.base import Teacher
from facedistill.engine.step import TrainingStep
from facedistill.models.outputs import Outputs


@dataclass(frozen=True)
class Teachers:
    """All teachers of a run.

    Attributes:
        own: The run's teacher; None if no objective needs one.
        others: Further ones by name.
    """

    own: Teacher | None = None
    others: Mapping[str, Teacher] = field(default_factory=dict)

    def check(self, step: TrainingStep) -> None:
        """Refuse teachers and objectives that do not go together.

        Raises:
            FacedistillError: If an objective needs what no teacher gives, or no objective listens
                to a teacher.
        """
        step.check_teacher(self.own)
        step.check_others(self.others)

    def outputs(self, batch: Batch, step: TrainingStep) -> tuple[Outputs, dict[str, Outputs]]:
        """Return what the objectives need of each teacher for a batch.

        One that trains is asked in the step itself, for the gradients: its outputs are empty here.
        """
        asked_here = self.own is not None and step.teacher is None
        own = self.own(batch, step.teacher_needs) if self.own and asked_here else Outputs()
        return own, {name: each(batch, step.needs_of(name)) for name, each in self.others.items()}

    @property
    def fingerprints(self) -> list[str]:
        """Of the networks that teach, prompts left out."""
        return [each.fingerprint for each in (self.own, *self.others.values()) if each is not None]
