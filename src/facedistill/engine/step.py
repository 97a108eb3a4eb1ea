"""Student and objectives as one module: a forward pass that ends in the loss."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import nn
from torch.compiler import set_stance

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Classifier, Gather, Objective, Parts
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.engine.gradient_shares import SUFFIX, gradient_shares
from facedistill.engine.weights import AutoScales, Weight
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs


class TrainingStep(nn.Module):
    """Everything that trains, so that one wrapper (DDP, precision) serves it all.

    Args:
        student: The network to train.
        objectives: By name.
        weights: By the same names.
        teacher_of: Of objectives that learn from another than the run's teacher: its name.
        teacher: The run's teacher if something of it trains too; it is then asked in `forward`.

    Raises:
        FacedistillError: If an objective needs an output that nothing gives, or at some time of
            training no objective is on.
    """

    def __init__(
        self,
        student: FaceNetwork,
        objectives: dict[str, Objective],
        weights: dict[str, Weight],
        teacher_of: Mapping[str, str] | None = None,
        teacher: TrainableTeacher | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher.module if teacher else None
        self._trainable = teacher
        self.objectives = nn.ModuleDict(objectives)
        self.weights = weights
        self.auto = AutoScales(weights, silent=self._silent())
        self.shares_wanted = False
        """Whether the next forward pass also measures each term's share of the gradient."""
        self.teacher_of = dict(teacher_of or {})
        self.student_needs = self._needs("student")
        self.teacher_needs = self.needs_of(None)
        self._check_needs()
        self._check_weights()

    def forward(
        self,
        batch: Batch,
        teacher: Outputs,
        done: float,
        others: Mapping[str, Outputs] | None = None,
    ) -> tuple[torch.Tensor, Parts]:
        """Return the weighted loss and, detached, every term and part by name.

        Args:
            batch: The samples.
            teacher: The teacher's outputs for them; passed over where it trains.
            done: Share of training that lies behind, 0 to 1, for the weights' schedules.
            others: Outputs of further teachers, by name.
        """
        if self._trainable is not None:
            teacher = self._trainable(batch, self.teacher_needs)
        student = self._ask_student(batch, done)
        outputs = {
            name: others[self.teacher_of[name]] if others and name in self.teacher_of else teacher
            for name in self.objectives
        }
        for name, objective in zip(self.objectives, self._each(), strict=True):
            objective.observe(student, outputs[name], batch)
        # Only now: to observe may move the class centres.
        if "logits" in self.student_needs:
            classifier, embedding = self.classifier, student.embedding
            assert classifier is not None and embedding is not None, "checked at the start"
            student.logits = classifier.logits(embedding)
        losses: dict[str, torch.Tensor] = {}
        parts: Parts = {}
        for name, objective in zip(self.objectives, self._each(), strict=True):
            if not self.weights[name].on(done):
                continue
            loss, details = objective(student, outputs[name], batch)
            losses[name] = loss
            parts[name] = loss.detach()
            parts |= {f"{name}.{key}": value for key, value in details.items()}
        self.auto.find(losses, self.student.parameters())
        if self.shares_wanted:
            parts |= self._shares(losses, done)
        total = torch.zeros((), device=batch.labels.device)
        for name, loss in losses.items():
            weight = self.weights[name].at(done) * self.auto.of(name)
            total = total + weight * loss
            if isinstance(weight, torch.Tensor):
                parts[f"{name}.weight"] = weight.detach().clone()
        return total, parts

    def _ask_student(self, batch: Batch, done: float) -> Outputs:
        """Ask a compiled student as it was built where more than one gradient is needed of it."""
        several = self.auto.sought(done) or (self.shares_wanted and len(self.training_terms) > 1)
        stance = set_stance("force_eager") if several else nullcontext()
        with stance:
            outputs: Outputs = self.student(batch.images, self.student_needs - {"logits"})
        return outputs

    def _shares(self, losses: Mapping[str, torch.Tensor], done: float) -> Parts:
        """Return each term's share of the student's gradient under the name it is logged by."""
        own = {name: loss for name, loss in losses.items() if name in self.training_terms}
        factors = {name: self.weights[name].at(done) * self.auto.scale(name) for name in own}
        trained = [each for each in self.student.parameters() if each.requires_grad]
        shares = gradient_shares(own, factors, trained)
        device = self.student.device
        return {
            f"{name}{SUFFIX}": torch.tensor(each, device=device) for name, each in shares.items()
        }

    def finish_step(self, gather: Gather) -> None:
        """Tell the objectives that an optimiser step is over; see `Objective.finish_step`."""
        for objective in self._each():
            objective.finish_step(gather)

    def needs_of(self, other: str | None) -> frozenset[str]:
        """Return what the objectives ask of the teacher `other`; None is the run's own."""
        return self._needs("teacher", self._listeners(other))

    @property
    def training_terms(self) -> list[str]:
        """Names of the objectives that give the student a gradient."""
        silent = self._silent()
        return [name for name in self.objectives if name not in silent]

    @property
    def named_objectives(self) -> dict[str, Objective]:
        """The objectives by name."""
        return dict(zip(self.objectives, self._each(), strict=True))

    @property
    def classifier(self) -> Classifier | None:
        """The first objective that gives the student's logits."""
        return next((o for o in self._each() if isinstance(o, Classifier) and o.gives_logits), None)

    @property
    def trains_the_end(self) -> bool:
        """Whether an objective asks for what comes out of the student's last layer.

        Hints, say, learn from its feature map.
        """
        ends = {"landmarks"} if self.student.landmark_head else {"embedding", "logits"}
        return bool(self.student_needs & ends)

    @property
    def leaves_weights_out(self) -> bool:
        """Whether some weights get no gradient, always or while an objective is off."""
        sometimes_off = any(
            weight.start > 0 or weight.stop < 1 or weight.value == 0
            for weight in self.weights.values()
        )
        return sometimes_off or not self.trains_the_end

    def check_others(self, others: Mapping[str, Teacher]) -> None:
        """Refuse further teachers that no objective uses, or that do not give what is needed.

        Raises:
            FacedistillError: Naming the teacher.
        """
        for name, teacher in others.items():
            if not self.needs_of(name):
                raise FacedistillError(
                    f"no objective learns from teachers.{name}: give one that does the option "
                    f"`of: {name}`, or remove the teacher"
                )
            teacher.check(self.needs_of(name))

    def check_teacher(self, teacher: Teacher | None) -> None:
        """Refuse objectives and a teacher that have nothing to do with each other.

        Raises:
            FacedistillError: If there is no teacher and one is needed, it does not give what is
                needed, or it is there and no objective listens.
        """
        needs = self.teacher_needs
        if teacher is None and needs:
            raise FacedistillError(
                f"the objectives need teacher.{', teacher.'.join(sorted(needs))} and the run has no"
                " teacher: give teacher.bank or teacher.model"
            )
        if teacher is not None and not needs:
            raise FacedistillError(
                f"no objective learns from {teacher.name}: add one that needs the teacher's "
                "outputs (`facedistill list objectives`), or remove the teacher"
            )
        if teacher is not None:
            teacher.check(needs)
        if isinstance(teacher, TrainableTeacher) and not self._adapts_teacher:
            preserving = [f"objectives.{name}" for name in self._silent()]
            raise FacedistillError(
                f"no objective trains the prompts of {teacher.name} for the student: add one that "
                "compares the student with the teacher, or set "
                f"{', '.join(['teacher.prompts', *preserving])} to null"
            )

    @property
    def _adapts_teacher(self) -> bool:
        """Whether gradient from the student's side reaches the run's own teacher."""
        own = [o for o in self._listeners(None) if o.adapts_teacher]
        return bool(self._needs("teacher", own))

    def _listeners(self, other: str | None) -> list[Objective]:
        each = zip(self.objectives, self._each(), strict=True)
        return [o for name, o in each if self.teacher_of.get(name) == other]

    def _needs(self, source: str, of: list[Objective] | None = None) -> frozenset[str]:
        asked = frozenset[str]().union(*(o.needs for o in (self._each() if of is None else of)))
        return frozenset(n.removeprefix(f"{source}.") for n in asked if n.startswith(f"{source}."))

    def _each(self) -> list[Objective]:
        return [o for o in self.objectives.values() if isinstance(o, Objective)]

    def _silent(self) -> list[str]:
        """Names of the objectives that give the student no gradient."""
        each = zip(self.objectives, self._each(), strict=True)
        return [
            name
            for name, objective in each
            if not any(need.startswith("student.") for need in objective.needs)
        ]

    def _check_weights(self) -> None:
        """At every moment something must train, and a share must be one of a gradient."""
        each = self.weights.values()
        for name in self._silent():
            if self.weights[name].share is not None:
                raise FacedistillError(
                    f"the automatic weight of {name} is a share of the student's gradient, to "
                    "which it gives nothing: set its weight to a number"
                )
        if len(self._silent()) == len(self.objectives):
            raise FacedistillError(
                f"nothing trains the student: {', '.join(self.objectives) or 'no objective'} gives "
                "it no gradient; add one that needs the student's outputs"
            )
        for done in sorted({0.0} | {w.start for w in each} | {w.stop for w in each if w.stop < 1}):
            if not any(weight.on(done) for weight in each):
                raise FacedistillError(
                    f"no objective is on when {100 * done:g} % of training is done: "
                    "change weight, start or stop of one"
                )

    def _check_needs(self) -> None:
        missing = self.student_needs - self.student.gives - {"logits"}
        if missing:
            raise FacedistillError(
                f"the objectives need student.{', student.'.join(sorted(missing))}, but "
                f"{self.student.architecture} gives only {', '.join(sorted(self.student.gives))}"
            )
        if "logits" in self.student_needs and self.classifier is None:
            for name, objective in self.named_objectives.items():
                if isinstance(objective, Classifier):
                    raise FacedistillError(
                        "an objective needs student.logits, the scores of all identities, which "
                        f"objectives.{name} divides among the processes: set its sharded to false"
                    )
            raise FacedistillError(
                "an objective needs student.logits and no objective classifies: add one that "
                "does, a margin softmax, or an option by which it does without (docs/methods.md)"
            )
