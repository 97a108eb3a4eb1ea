"""What a run is: one YAML file, typed, documented and validated."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from facedistill.core.suggestion import did_you_mean
from facedistill.recipe.data_recipe import DataRecipe
from facedistill.recipe.objective_recipe import ObjectiveRecipe
from facedistill.recipe.recipe_section import PathText, Section, Share
from facedistill.runtime.input_spec import InputSpec, StatedInput

_INDIFFERENT: dict[str, Any] = {
    "data": {"workers", "cache"},
    "teacher": {"prompts": {"checkpointing"}},
    "training": {"checkpoint_minutes", "tensorboard"},
}
"""Keys on which the result does not depend."""

MOST_PROMPTS = 1024
"""Most prompts of a stage."""


class PromptsRecipe(Section):
    """Prompts that train in a frozen Transformer teacher."""

    count: int = Field(
        10,
        ge=1,
        le=MOST_PROMPTS,
        description="prompts of each stage that train beside the student, of a `swin_*` or "
        "`vit_*` teacher; without `teacher.prompts` the teacher is frozen as a whole",
    )
    lr: float = Field(1.0, gt=0, description="factor of optimizer.lr")
    checkpointing: bool = Field(
        False,
        description="compute the teacher's blocks again for gradients: less memory, more time",
    )


class TeacherRecipe(Section):
    """Where knowledge comes from: a bank (cached) or a model file (online)."""

    newer = ("output",)

    bank: PathText | None = Field(None, description="folder made by `facedistill embed`")
    model: PathText | None = Field(
        None,
        description=".onnx, .safetensors, .pt, .pth, .ckpt, .pth.tar, or a run's folder (its best "
        "weights, and the class head beside them): teaches online, or checks that a "
        "bank is its own",
    )
    input: StatedInput | None = Field(None, description="of a foreign network that does not say")
    output: str | None = Field(
        None,
        min_length=1,
        description="the embedding of an ONNX file with several outputs",
    )
    view: Literal["same", "clean"] = Field(
        "same",
        description="teacher sees the student's image, or the one before augmentation (clean). A "
        "bank knows plain and flipped images, so under more augmentation than a flip it teaches "
        "the clean view",
    )
    prompts: PromptsRecipe | None = Field(None, description="of a Transformer: train prompts")
    precision: Literal["fp32", "bf16"] | None = Field(
        None,
        description="of an online teacher that is no ONNX file; default: the run's. For a Swin on "
        "a CPU bf16 takes half the time; its outputs are float32",
    )
    licence: str = Field(
        min_length=1,
        description="of the teacher's weights, `unknown` if you do not know (a bank may); kept in"
        " the model file and its card",
    )

    @model_validator(mode="after")
    def _one_source(self) -> TeacherRecipe:
        if not self.bank and not self.model:
            raise ValueError("give bank or model")
        if self.prompts and (self.bank or not self.model):
            raise ValueError("prompts train in an online teacher: give model and no bank")
        if self.output and not self.model:
            raise ValueError("output is that of model: leave it out, or give model")
        if self.precision and self.bank:
            raise ValueError("precision is that of an online teacher: a bank computes nothing")
        return self


class NetworkRecipe(Section):
    """The network to train."""

    network: str = Field("mobilefacenet", description="one of the networks below, or `timm:NAME`")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="of the network, see the networks below"
    )
    embedding_size: int = Field(512, ge=8, le=8192, description="D, dimension of the embedding")
    landmarks: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="points of a landmark head: the network finds landmarks, and is validated and "
        "evaluated on them. 5 of any data with landmarks; 49, 68 or 98 of data that has as many",
    )
    input: InputSpec = InputSpec()
    init: PathText | None = Field(
        None,
        description="model file or run folder to start from; a network of the same kind with "
        "another head gives all but that head",
    )


Decay = Annotated[float, Field(ge=0, lt=1)]
"""Share that a running mean keeps at each step."""


class OptimizerRecipe(Section):
    """Optimiser."""

    name: Literal["sgd", "adamw"] = Field("sgd", description="of the optimiser")
    lr: float = Field(0.1, gt=0, description="highest learning rate")
    weight_decay: float = Field(
        5e-4,
        ge=0,
        description="on weights; biases, norms and slopes are spared unless `decay_all`",
    )
    momentum: Decay = Field(0.9, description="of sgd")
    nesterov: bool = Field(False, description="of sgd")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="of adamw")
    decay_all: bool = Field(False, description="decay biases and norms too")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> OptimizerRecipe:
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov is for sgd with a momentum above 0")
        return self


class ScheduleRecipe(Section):
    """Learning rate over the run."""

    name: Literal["constant", "cosine", "step", "one_cycle"] = Field(
        "cosine", description="of the learning rate"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of training with linear rise")
    final: float = Field(0.0, ge=0, le=1, description="factor at the end")
    milestones: tuple[Share, ...] = Field(
        (0.5, 0.75, 0.9), description="of step: shares of training at which the rate falls"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="of step: factor at each milestone")
    peak: float = Field(
        0.3, gt=0, lt=1, description="of one_cycle: share of training at which the rate is highest"
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> ScheduleRecipe:
        if self.name == "one_cycle" and self.warmup > 0:
            raise ValueError("one_cycle has its own rise: leave warmup out, or move peak")
        return self


EpochCount = Annotated[float, Field(gt=0)]


class TrainingRecipe(Section):
    """The loop."""

    epochs: EpochCount | Literal["auto"] = Field(
        10.0,
        description="length; auto: 20, or what 2,000 steps are of a set for which that is more",
    )
    steps: int | None = Field(None, gt=0, description="length in steps instead, which wins")
    batch_size: int = Field(128, ge=2, description="per optimiser step, over all processes")
    accumulate: int = Field(1, ge=1, description="micro-batches per optimiser step")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on an accelerator, fp32 on a CPU"
    )
    clip: float | None = Field(5.0, gt=0, description="largest gradient norm; null for none")
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of averaged weights, which are then evaluated and saved",
    )
    compile: bool = Field(
        False,
        description="torch.compile; on a CPU it needs a C++ compiler and pays after a minute",
    )
    device: Literal["cpu", "cuda"] | None = Field(None, description="default: the best there is")
    checkpoint_minutes: float = Field(10, gt=0, description="minutes between checkpoints")
    evaluate_every: float = Field(
        1.0,
        gt=0,
        description="epochs between evaluations; where `epochs: auto` makes them more than 20, "
        "twentieths of the run",
    )
    evaluate_steps: int | None = Field(None, ge=1, description="steps between them instead")
    log_every: int = Field(20, ge=1, description="steps between lines of metrics.jsonl")
    tensorboard: bool = Field(
        False, description="write event files too; needs the extra `tensorboard`"
    )

    @field_validator("epochs", mode="wrap")
    @classmethod
    def _count_or_auto(cls, value: Any, check: ValidatorFunctionWrapHandler) -> float | str:
        try:
            checked: float | str = check(value)
        except ValidationError:
            raise PydanticCustomError("length", "give a number above 0 or auto") from None
        return checked

    @model_validator(mode="after")
    def _two_images_at_a_time(self) -> TrainingRecipe:
        if self.batch_size < 2 * self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} in {self.accumulate} micro-batches leaves fewer than"
                " 2 images at a time: lower accumulate"
            )
        return self


class PairsRecipe(Section):
    """Verification pairs; `name: path` is short for `name: {pairs: path}`."""

    newer = ("groups", "all_pairs")

    pairs: PathText = Field(
        description=".bin file, folder with pairs.txt, or `procedural:`; of a landmark network a "
        "landmark list, a folder with .pts files or `procedural:`"
    )
    mask: Literal["one", "both"] | None = Field(
        None,
        description="draw face masks on the second image of each pair, or on both; always the same",
    )
    groups: PathText | None = Field(
        None,
        description="CSV table of groups of identities, see evaluation.md: their errors at one "
        "threshold, FMR 1e-2 over all pairs, in `summary.json` and the model card",
    )

    all_pairs: bool = Field(
        False,
        description="compare all images of different folds in place of the listed pairs (.bin, "
        "folder with pairs.txt), see evaluation.md",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"pairs": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _groups_are_of_listed_pairs(self) -> PairsRecipe:
        if self.groups and self.all_pairs:
            raise ValueError("groups are compared on listed pairs: leave all_pairs out")
        return self

    @property
    def for_pairs_only(self) -> str | None:
        """A key that is set and means nothing for faces with landmarks; None without one."""
        keys = ("mask", "groups", "all_pairs")
        return next((key for key in keys if getattr(self, key)), None)


class Recipe(Section):
    """One run.

    `evaluation` names verification pairs that the finished network is measured on once;
    checkpoints are chosen on the validation identities split from training, never on these.
    """

    name: str = Field(description="what to call the run")
    seed: int = Field(
        0,
        ge=0,
        lt=1 << 32,
        description="of weights, order and augmentation; validation identities do not depend on it",
    )
    data: DataRecipe
    teacher: TeacherRecipe | None = None
    teachers: dict[str, TeacherRecipe] = Field(
        default_factory=dict,
        description="further teachers, `name: {model: ...}` with the keys of `teacher`, for "
        "objectives that say `of: name`",
    )
    student: NetworkRecipe = NetworkRecipe()
    objectives: dict[str, ObjectiveRecipe] = Field(
        min_length=1, description="name: options, see the objectives below; each has these keys"
    )
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    training: TrainingRecipe = TrainingRecipe()
    evaluation: dict[str, PairsRecipe] = Field(
        default_factory=dict,
        description="name: pairs, measured once when training is over; `name: path` is short for "
        "`name: {pairs: path}`",
    )

    @model_validator(mode="after")
    def _known_teachers(self) -> Recipe:
        for name, teacher in self.teachers.items():
            if teacher.prompts:
                raise ValueError(f"teachers.{name}.prompts: only `teacher` can have prompts")
        for name, term in self.objectives.items():
            if term.of is not None and term.of not in self.teachers:
                hint = did_you_mean(term.of, self.teachers) if self.teachers else "there are none"
                raise ValueError(f"objectives.{name}.of: no '{term.of}' under teachers: {hint}")
        return self

    @model_validator(mode="after")
    def _masks_and_groups_on_pairs(self) -> Recipe:
        for name, each in self.evaluation.items():
            if self.student.landmarks is not None and (key := each.for_pairs_only):
                raise ValueError(
                    f"evaluation.{name}.{key} is for pairs, and the student finds landmarks: "
                    "leave it out"
                )
        return self

    def data_sources(self) -> list[str]:
        """Return the files, folders and specifications of faces that it names."""
        return [self.data.train, *(each.pairs for each in self.evaluation.values())]

    def sources(self) -> list[str]:
        """Return the files, folders and specifications that it names."""
        teachers = [*([self.teacher] if self.teacher else []), *self.teachers.values()]
        named = [*self.data_sources(), self.data.root, self.student.init]
        named += [source for each in teachers for source in (each.bank, each.model)]
        named += [each.groups for each in self.evaluation.values()]
        return [source for source in named if source is not None]

    @property
    def hash(self) -> str:
        """Hex digest of everything that decides the result."""
        canonical = json.dumps(self.decisive(), sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()

    def decisive(self) -> dict[str, Any]:
        """Return the keys that decide the result: a run may be resumed with others changed."""
        return self.model_dump(mode="json", exclude=_INDIFFERENT)

    def to_yaml(self) -> str:
        """Return the recipe as the YAML text that gives it again."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
