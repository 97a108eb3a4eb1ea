"""From a recipe to a finished run: set the parts up, train, measure once, write it down."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState

from facedistill.atomic import atomic_path
from facedistill.data.identity_order import IdentityOrder
from facedistill.data.labels import Subset, check_labels, split_identities, split_images
from facedistill.data.loader import Loader, Order
from facedistill.data.opening import open_dataset
from facedistill.data.pairs import PairSet, open_pairs
from facedistill.data.sample import FaceDataset
from facedistill.distill.bank import Bank
from facedistill.distill.class_centres import class_centres
from facedistill.distill.margin_softmax import MarginSoftmax
from facedistill.distill.mining import mine_neighbours
from facedistill.distill.objective import Setting, create_objective
from facedistill.distill.pixel_features import find_pixel_features
from facedistill.distill.prompted import PromptedNetwork, save_prompts
from facedistill.distill.saliency import saliency_map
from facedistill.distill.teacher import (
    BankTeacher,
    NetworkTeacher,
    Teacher,
    TrainableTeacher,
    View,
)
from facedistill.errors import FacedistillError
from facedistill.evaluation.landmarks import evaluate_landmarks
from facedistill.evaluation.pairs import evaluate_pairs
from facedistill.models.class_head import ClassHead, head_path, load_head, save_head
from facedistill.models.face_network import FaceNetwork
from facedistill.models.metadata import ModelMetadata
from facedistill.models.model_file import load_model, save_model
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.models.opening import open_network
from facedistill.models.registry import create_backbone
from facedistill.recipe import (
    NetworkRecipe,
    PromptsRecipe,
    Recipe,
    TeacherRecipe,
    load_recipe,
)
from facedistill.report.card import UNKNOWN
from facedistill.training.card import write_run_card
from facedistill.training.folder import BEST, CHECKPOINT, LAST, PROMPTS, RECIPE, SUMMARY, claim
from facedistill.training.loop import Evaluate, Fit, LoopOptions, Report, Save
from facedistill.training.memory import keep_freed_memory
from facedistill.training.optimizer import create_optimizer
from facedistill.training.pictures import write_pictures
from facedistill.training.schedule import Schedule, schedule
from facedistill.training.step import TrainingStep, Weight

SPLIT_SEED = 0
"""Of the validation people: the same for every seed of an experiment."""

TestSet = PairSet | FaceDataset
"""What is measured on: pairs, or for a landmark network faces with landmarks."""

Say = Callable[[str], None]
"""Takes one line for the user."""


@dataclass(frozen=True)
class Summary:
    """What a finished run has to show.

    Attributes:
        folder: The run's folder.
        model: The best model file.
        steps: Optimiser steps done.
        validation: Best accuracy on validation people, 0..1; of a landmark network the least NME;
            None where nothing was split off.
        evaluation: By name of pairs, the report's figures.
        skipped: Places of corrupt samples that were left out.
        images_per_second: Training speed of this session, evaluations included.
        seconds_per_step: Median time of a step in this session, data and teacher included; 0 if it
            made none.
    """

    folder: Path
    model: Path
    steps: int
    validation: float | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    images_per_second: float = 0.0
    seconds_per_step: float = 0.0


def run(recipe: Recipe, folder: str | Path, say: Say = print) -> Summary:
    """Train what a recipe describes, going on from the folder's checkpoint if there is one.

    A finished run is not repeated: its summary is read. The folder then holds `recipe.yaml`,
    `metrics.jsonl`, `checkpoint.pt`, `last.safetensors`,
    `best.safetensors` (highest accuracy on validation people, or least NME on validation faces)
    and `summary.json`.

    Args:
        recipe: What to do.
        folder: Where to do it.
        say: Takes a line about what goes on.

    Raises:
        Interrupted: After SIGTERM or Ctrl-C; a checkpoint was saved.
        FacedistillError: If data, teacher, recipe or folder do not fit together.
    """
    folder = Path(folder)
    keep_freed_memory()
    accelerator = _accelerator(recipe)
    if not accelerator.is_main_process:
        say = _say_nothing
    with _ended(accelerator), _claimed(folder, accelerator):
        check_owner(folder, recipe)
        summary = _read_summary(folder, recipe)
        if summary is not None:
            say(f"{recipe.name} is finished, {summary.steps:,} steps: {folder} holds the result")
        else:
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                with atomic_path(folder / RECIPE) as temporary:
                    temporary.write_text(recipe.to_yaml(), "utf-8")
            summary = _run(recipe, folder, accelerator, say)
    return summary


@contextmanager
def _ended(accelerator: Accelerator) -> Iterator[None]:
    """Part from the other processes however the run ends.

    The threads of a process group that is still there when the interpreter goes can abort it.
    """
    try:
        yield
    finally:
        accelerator.end_training()


def _say_nothing(line: str) -> None:
    """Take the lines of the processes beside the main one."""


def check_owner(folder: Path, recipe: Recipe) -> None:
    """Refuse a folder that holds what another recipe made, before anything in it is replaced."""
    made = [name for name in (CHECKPOINT, BEST, LAST, SUMMARY) if (folder / name).exists()]
    if not made or not (folder / RECIPE).exists():
        return
    owner = load_recipe(folder / RECIPE)
    if owner.hash != recipe.hash:
        raise FacedistillError(
            f"{folder} holds a run of another recipe ({_difference(owner, recipe)}): choose "
            "another --out, or give the same recipe and settings to go on"
        )


def _difference(one: Recipe, other: Recipe) -> str:
    """Name the first key in which two recipes differ."""
    ours: Any = one.decisive()
    theirs: Any = other.decisive()
    place: list[str] = []
    while isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [*ours, *(key for key in theirs if key not in ours)]
        key = next(key for key in keys if ours.get(key, place) != theirs.get(key, place))
        place.append(key)
        ours, theirs = ours.get(key), theirs.get(key)
    return f"its {'.'.join(place)} is {json.dumps(ours)}, not {json.dumps(theirs)}"


def _read_summary(folder: Path, recipe: Recipe) -> Summary | None:
    """What an earlier call has finished; None where there is training or measuring to do."""
    path = folder / SUMMARY
    if not path.exists() or not (folder / BEST).exists():
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["recipe"] != recipe.hash:
            return None
        return Summary(
            folder,
            folder / BEST,
            content["steps"],
            content.get("validation_nme", content["validation_accuracy"]),
            content["evaluation"],
            content["skipped"],
            content["images_per_second"],
            content.get("seconds_per_step", 0.0),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise FacedistillError(
            f"{path} is damaged ({error}): delete it to measure the finished run again"
        ) from error


def _run(recipe: Recipe, folder: Path, accelerator: Accelerator, say: Say) -> Summary:
    faces, validation = split_data(recipe)
    finds_landmarks = recipe.student.landmarks is not None
    test_sets: dict[str, TestSet] = {
        name: open_dataset(each.pairs) if finds_landmarks else open_pairs(each.pairs)
        for name, each in recipe.evaluation.items()
    }
    teacher = open_teacher(recipe.teacher, faces, recipe.seed) if recipe.teacher else None
    others = {name: open_teacher(each, faces) for name, each in recipe.teachers.items()}
    _seed(recipe.seed)
    # One process mines for all, which then find its result beside the bank.
    with accelerator.main_process_first():
        step = _training_step(recipe, faces, teacher, others, accelerator.device, say)
    order = _order(recipe, faces, accelerator)
    _check_micro_batches(recipe, accelerator)
    options = _options(recipe, order)
    say(_opening_line(recipe, faces, teacher, options))
    fit = Fit(
        folder,
        accelerator,
        step,
        teacher,
        _loader(recipe, faces, order, [teacher, *others.values()], accelerator),
        _optimizer(recipe, step),
        _factor(recipe, options.steps),
        options,
        _validate_on(validation) if validation else None,
        _saver(recipe, folder, [teacher, *others.values()], step, faces),
        others,
    )
    position = fit.run()
    if not accelerator.is_main_process:
        return Summary(folder, folder / BEST, position.step)
    if isinstance(step.teacher, PromptedNetwork):
        save_prompts(step.teacher, folder / PROMPTS)
    mapped_by = others.get(step.taught_by.get("urfm", ""), teacher)
    for picture in write_pictures(folder, step, mapped_by, faces):
        say(f"picture: {picture}")
    summary = Summary(
        folder,
        folder / BEST,
        position.step,
        abs(position.best) if validation else None,
        _measure(folder / BEST, recipe, test_sets, accelerator.device, say),
        sorted(position.skipped),
        fit.images_per_second,
        fit.seconds_per_step,
    )
    write_run_card(recipe, folder, summary.evaluation)
    _write_summary(summary, recipe)
    if summary.skipped:
        say(f"left out {len(summary.skipped)} corrupt images, first: {summary.skipped[0]}")
    return summary


def split_data(recipe: Recipe) -> tuple[FaceDataset, TestSet | None]:
    """Open the training data, and split off people for validation if the recipe wants it.

    The split does not depend on the recipe's seed: the seeds of one experiment share their
    validation people, so that their figures can be compared.

    Returns:
        The faces to train on, labelled 0..M-1, and pairs of the people split off (for a landmark
        network their faces); of unlabelled faces all, and None.

    Raises:
        FacedistillError: If a landmark network is to learn from faces without landmarks.
    """
    data = recipe.data
    faces = open_dataset(data.train, relabel=data.relabel)
    identities = check_labels(faces.labels, faces.name)
    if data.validation_images:
        if recipe.student.landmarks is None:
            raise FacedistillError(
                "data.validation_images is for landmark networks: set student.landmarks, or "
                "data.validation_identities instead"
            )
        training, held_out = split_images(len(faces), data.validation_images, SPLIT_SEED)
        return Subset(faces, training), Subset(faces, held_out)
    if data.validation_identities and not identities:
        warnings.warn(
            f"{faces.name} has no labels: no people are split off to validate on, the last weights "
            "are taken for the best (data.validation_identities: 0 says so)",
            stacklevel=2,
        )
    if not data.validation_identities or not identities:
        return faces, None
    training, held_out = split_identities(faces.labels, data.validation_identities, SPLIT_SEED)
    people = Subset(faces, held_out)
    if recipe.student.landmarks is not None:
        return Subset(faces, training), people
    return Subset(faces, training), PairSet.from_dataset(people, data.validation_pairs, SPLIT_SEED)


def open_teacher(recipe: TeacherRecipe, faces: FaceDataset, seed: int = 0) -> Teacher:
    """Open the recipe's teacher: the bank where there is one, else the network.

    `seed` is that of the prompts, if it is to have some.

    Raises:
        FacedistillError: If the bank is of other data, or of another teacher than `model`.
    """
    model = _best_of(recipe.model) if recipe.model else None
    network = open_network(model, input=recipe.input) if model else None
    if recipe.bank is None:
        assert network is not None
        if recipe.prompts:
            return _prompted(network, recipe.prompts, recipe.view, seed)
        return NetworkTeacher(network, recipe.view, _head_of(model, network))
    bank = Bank(recipe.bank)
    bank.check_dataset(faces)
    if network is not None:
        bank.check_teacher(network.fingerprint, network.name)
    return BankTeacher(bank, recipe.view)


def _prompted(
    network: FaceNetwork | OnnxNetwork, prompts: PromptsRecipe, view: View, seed: int
) -> TrainableTeacher:
    """The teacher with prompts to train; students start alike with and without them."""
    if not isinstance(network, FaceNetwork):
        raise FacedistillError(
            f"teacher.prompts: {network.name} is an ONNX file, in which nothing can train: give "
            "teacher.model a .safetensors file, or leave prompts out"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TrainableTeacher(PromptedNetwork(network, prompts.count), network, view)


def _best_of(source: str) -> Path:
    """The model file that is meant by a path: of a run's folder, its best."""
    path = Path(source)
    return path / BEST if path.is_dir() else path


def _head_of(model: Path | None, network: FaceNetwork | OnnxNetwork) -> ClassHead | None:
    """The class head that a run has left beside its model file, if there is one."""
    if model is None or not isinstance(network, FaceNetwork) or not head_path(model).exists():
        return None
    return load_head(head_path(model), network)


def _training_step(
    recipe: Recipe,
    faces: FaceDataset,
    teacher: Teacher | None,
    others: Mapping[str, Teacher],
    device: torch.device,
    say: Say,
) -> TrainingStep:
    student = create_student(recipe.student, say)
    _check_landmarks(recipe, faces)
    everyone: dict[str | None, Teacher | None] = {None: teacher} | dict(others)
    sources = {None: recipe.teacher} | dict(recipe.teachers)
    settings = {
        name: _online_setting(
            _setting(student, each, faces, device), student, each, sources[name], faces, device
        )
        for name, each in everyone.items()
    }
    objectives = {
        name: create_objective(name, settings[term.of], **term.arguments)
        for name, term in recipe.objectives.items()
    }
    weights = {
        name: Weight(
            value=term.factor,
            start=term.start,
            stop=term.stop,
            warmup=term.warmup,
            shape=term.schedule,
            final=term.final,
            share=term.share,
        )
        for name, term in recipe.objectives.items()
    }
    taught_by = {name: term.of for name, term in recipe.objectives.items() if term.of}
    trainable = teacher if isinstance(teacher, TrainableTeacher) else None
    step = TrainingStep(student, objectives, weights, taught_by, trainable)
    for name, each in everyone.items():
        if isinstance(each, BankTeacher) and "logits" in step.needs_of(name):
            each.learn_prototypes(faces)
        if each is not None and step.compares_classes(name):
            each.check_classes(faces)
    step.check_teacher(teacher)
    step.check_others(others)
    return step


def _setting(
    student: FaceNetwork, teacher: Teacher | None, faces: FaceDataset, device: torch.device
) -> Setting:
    """What an objective that learns from this teacher may know of the run."""
    identities = int(faces.labels.max()) + 1
    return Setting(
        student_size=student.embedding_size,
        teacher_size=teacher.embedding_size if teacher else None,
        identities=identities,
        mine=partial(mine_neighbours, teacher.bank, faces, device=device)
        if isinstance(teacher, BankTeacher)
        else None,
        teacher_centres=partial(teacher.learn_prototypes, faces)
        if isinstance(teacher, BankTeacher)
        else None,
        student_channels=student.feature_channels,
        teacher_channels=teacher.channels if teacher else None,
        teacher_classes=_classes(teacher, identities),
    )


def _online_setting(
    setting: Setting,
    student: FaceNetwork,
    teacher: Teacher | None,
    source: TeacherRecipe | None,
    faces: FaceDataset,
    device: torch.device,
) -> Setting:
    """Add what only a network that is at hand can tell; what it takes to tell is kept beside it."""
    if source is None or source.model is None or not isinstance(teacher, NetworkTeacher):
        return setting
    network, beside = teacher.plain, _best_of(source.model)
    pixels = find_pixel_features(network)
    return replace(
        setting,
        teacher_centres=partial(class_centres, network, faces, beside, device)
        if setting.identities
        else None,
        student_pixels=find_pixel_features(student),
        teacher_pixels=pixels,
        saliency=partial(saliency_map, network, pixels, faces, beside, device) if pixels else None,
    )


def _classes(teacher: Teacher | None, identities: int) -> int | None:
    """Of how many classes a teacher can give logits: its own, or a bank's of this data's people."""
    if isinstance(teacher, BankTeacher):
        return identities or None
    return teacher.head.classes if teacher and teacher.head else None


def _check_landmarks(recipe: Recipe, faces: FaceDataset) -> None:
    """Refuse to learn landmarks that the data has not, or that are of another view."""
    if "landmark_regression" in recipe.objectives and faces[0].landmarks is None:
        raise FacedistillError(
            f"objective 'landmark_regression' needs landmarks and {faces.name} has none: give a "
            "landmark list, a folder with .pts files or procedural faces"
        )
    imitation, augmentation = recipe.objectives.get("landmark_imitation"), recipe.data.augmentation
    if imitation is None or not (augmentation.flip > 0 or augmentation.moves):
        return
    teacher = recipe.teachers[imitation.of] if imitation.of else recipe.teacher
    if teacher is not None and teacher.view == "clean":
        raise FacedistillError(
            "objective 'landmark_imitation' follows the teacher's points, and under view: clean "
            "they lie elsewhere than in the mirrored or moved image: set teacher.view: same, or "
            "data.augmentation.flip, shift, scale and rotation to 0"
        )


def create_student(recipe: NetworkRecipe, say: Say = _say_nothing) -> FaceNetwork:
    """Build the network to train, with the weights of `init` if the recipe names it.

    A network of the same architecture and arguments with another head, for another task, gives all
    that is not of the head's shape; the rest starts fresh, and `say` is told what.

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
    start = load_model(_best_of(recipe.init))
    shapes = {key: weight.shape for key, weight in start.backbone.state_dict().items()}
    if start.architecture != recipe.network or _shapes(recipe, start.embedding_size) != shapes:
        raise FacedistillError(
            f"student.init {recipe.init} is {start.architecture} {start.arguments} for "
            f"{start.input.size} pixels, not {recipe.network} {recipe.arguments} for "
            f"{student.input.size}"
        )
    if replace(start.input, size=student.input.size) != student.input:
        raise FacedistillError(
            f"student.init {recipe.init} was trained on {start.input}, the recipe says "
            f"{student.input}: give student.input the same color, mean and std"
        )
    weights, given = student.weights(), start.weights()
    taken = {
        k: given[k] for k, mine in weights.items() if k in given and given[k].shape == mine.shape
    }
    student.load_weights({**weights, **taken})
    fresh = [key for key in weights if key not in taken]
    new = f"all but {', '.join(fresh)}" if fresh else "all"
    say(f"student.init: {new} of {len(weights)} weights are those of {recipe.init}")
    return student


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


def _accelerator(recipe: Recipe) -> Accelerator:
    """Choose device, precision and processes."""
    # accelerate keeps one state for the whole process and refuses a second run of other precision
    # or device. It offers no public way to forget the first; its own tests do it like this.
    AcceleratorState._reset_state(reset_partial_state=True)
    cpu = recipe.training.device == "cpu" or not torch.cuda.is_available()
    if recipe.training.device == "cuda" and cpu:
        raise FacedistillError("training.device is cuda and there is none: set it to cpu")
    precision = recipe.training.precision
    if precision == "auto":
        precision = "fp32" if cpu else "bf16"
    if precision == "fp16" and cpu:
        raise FacedistillError("training.precision: fp16 is for accelerators: set it to fp32")
    if recipe.training.compile and cpu and not _has_compiler():
        raise FacedistillError(
            "training.compile needs a C++ compiler on a CPU and there is none: install g++, or set "
            "it to false"
        )
    sometimes = any(
        term.start > 0 or term.stop < 1 or term.weight == 0 for term in recipe.objectives.values()
    )
    return Accelerator(
        cpu=cpu,
        mixed_precision="no" if precision == "fp32" else precision,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=sometimes)],
    )


def _has_compiler() -> bool:
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")))


def _check_micro_batches(recipe: Recipe, accelerator: Accelerator) -> None:
    training, world = recipe.training, accelerator.num_processes
    if training.compile and any(term.share for term in recipe.objectives.values()):
        raise FacedistillError(
            "weight: auto needs gradients that a compiled student gives once only: set "
            "training.compile to false, or weights to numbers"
        )
    if training.batch_size < 2 * training.accumulate * world:
        raise FacedistillError(
            f"training.batch_size {training.batch_size} among {world} processes in "
            f"{training.accumulate} micro-batches leaves fewer than 2 images at a time: raise it"
        )


@contextmanager
def _claimed(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """The main process claims the folder for all of them."""
    with claim(folder) if accelerator.is_main_process else nullcontext():
        yield


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what third-party code may draw from
    torch.manual_seed(seed)


def _options(recipe: Recipe, order: Order) -> LoopOptions:
    training = recipe.training
    per_epoch = order.steps_per_epoch
    return LoopOptions(
        steps=training.steps or max(1, round(training.epochs * per_epoch)),
        evaluate_every=training.evaluate_steps
        or max(1, round(training.evaluate_every * per_epoch)),
        log_every=training.log_every,
        checkpoint_seconds=60 * training.checkpoint_minutes,
        accumulate=training.accumulate,
        clip=training.clip,
        ema=training.ema,
        compile=training.compile,
        tensorboard=training.tensorboard,
        recipe=recipe.hash,
    )


def _order(recipe: Recipe, faces: FaceDataset, accelerator: Accelerator) -> Order:
    training, images = recipe.training, recipe.data.images_per_person
    rank, world = accelerator.process_index, accelerator.num_processes
    if images is None:
        return Order(len(faces), training.batch_size, recipe.seed, rank, world)
    return IdentityOrder(
        len(faces),
        training.batch_size,
        recipe.seed,
        rank,
        world,
        labels=faces.labels,
        images=images,
        accumulate=training.accumulate,
    )


def _loader(
    recipe: Recipe,
    faces: FaceDataset,
    order: Order,
    teachers: Sequence[Teacher | None],
    accelerator: Accelerator,
) -> Loader:
    data = recipe.data
    for teacher in teachers:
        _check_views(recipe, teacher)
    return Loader(
        faces,
        order,
        augmentation=data.augmentation,
        workers=data.workers,
        cache=data.cache,
        image_size=data.image_size,
        keep_clean=any(teacher is not None and teacher.wants_clean for teacher in teachers),
        on_error=data.on_error,
        device=accelerator.device,
    )


def _check_views(recipe: Recipe, teacher: Teacher | None) -> None:
    """Refuse views that a bank does not hold, and images too small for an online teacher."""
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
            "teacher.view: clean (mirrored images are taught the plain view), or embed with --flip"
        )


def _optimizer(recipe: Recipe, step: TrainingStep) -> torch.optim.Optimizer:
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


def _factor(recipe: Recipe, steps: int) -> Schedule:
    options = recipe.schedule
    return schedule(
        options.name,
        steps,
        warmup=round(options.warmup * steps),
        final=options.final,
        milestones=options.milestones,
        gamma=options.gamma,
        peak=options.peak,
    )


def _validate_on(held_out: TestSet) -> Evaluate:
    def evaluate(network: FaceNetwork) -> Report:
        if isinstance(held_out, PairSet):
            return evaluate_pairs(network, held_out, protocol="exact", resamples=0)
        return evaluate_landmarks(network, held_out, resamples=0)

    return evaluate


def _saver(
    recipe: Recipe,
    folder: Path,
    teachers: Sequence[Teacher | None],
    step: TrainingStep,
    faces: FaceDataset,
) -> Save:
    teacher_name, teacher_licence = _origin(recipe, teachers)
    classifiers = [each for each in step.objectives.values() if isinstance(each, MarginSoftmax)]
    heads = [ClassHead(each.head, faces.fingerprint, faces.name) for each in classifiers]

    def save(network: FaceNetwork, name: str, report: Report | None) -> None:
        figures = report.figures if report else {}
        metadata = ModelMetadata(
            name=f"{recipe.name}-{recipe.student.network}",
            teacher=teacher_name,
            teacher_licence=teacher_licence,
            data_licence=_stated(recipe.data.licence),
            recipe_hash=recipe.hash,
            metrics={f"validation.{key}": value for key, value in figures.items()},
            thresholds=report.thresholds if report else {},
        )
        path = folder / f"{name}.safetensors"
        save_model(network, path, metadata=metadata)
        for head in heads:
            save_head(head, head_path(path), network)

    return save


def _origin(recipe: Recipe, teachers: Sequence[Teacher | None]) -> tuple[str | None, str | None]:
    """Names and licences of the networks that teach; a bank knows those of the one it came from."""
    recipes = [recipe.teacher, *recipe.teachers.values()]
    origins = [
        _origin_of(its_recipe, teacher)
        for its_recipe, teacher in zip(recipes, teachers, strict=True)
        if its_recipe is not None and teacher is not None
    ]
    names = dict.fromkeys(name for name, _ in origins)
    licences = dict.fromkeys(licence or UNKNOWN for _, licence in origins)
    return " and ".join(names) or None, _stated(" and ".join(licences) or UNKNOWN)


def _origin_of(recipe: TeacherRecipe, teacher: Teacher) -> tuple[str, str | None]:
    licence = _stated(recipe.licence)
    if isinstance(teacher, BankTeacher):
        info = teacher.bank.info
        return info.teacher_name, licence or _stated(info.licence)
    return teacher.name, licence


def _stated(licence: str) -> str | None:
    return None if licence == UNKNOWN else licence


def _measure(
    model: Path, recipe: Recipe, test_sets: dict[str, TestSet], device: torch.device, say: Say
) -> dict[str, Any]:
    """Measure the best weights on the evaluation sets, once, when training is over."""
    if not test_sets:
        return {}
    network = load_model(model).to(device)
    reports: dict[str, Report] = {
        name: evaluate_pairs(network, test_set, mask=recipe.evaluation[name].mask)
        if isinstance(test_set, PairSet)
        else evaluate_landmarks(network, test_set)
        for name, test_set in test_sets.items()
    }
    for report in reports.values():
        say(report.line())
    return {name: report.to_dict() for name, report in reports.items()}


def _write_summary(summary: Summary, recipe: Recipe) -> None:
    finds_landmarks = recipe.student.landmarks is not None
    content = {
        "recipe": recipe.hash,
        "seed": recipe.seed,
        "steps": summary.steps,
        "validation_accuracy": None if finds_landmarks else summary.validation,
        **({"validation_nme": summary.validation} if finds_landmarks else {}),
        "evaluation": summary.evaluation,
        "skipped": summary.skipped,
        "images_per_second": round(summary.images_per_second, 1),
        "seconds_per_step": round(summary.seconds_per_step, 6),
    }
    with atomic_path(summary.folder / SUMMARY) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _opening_line(
    recipe: Recipe, faces: FaceDataset, teacher: Teacher | None, options: LoopOptions
) -> str:
    taught = f", taught by {teacher.name}" if teacher else ""
    people = int(faces.labels.max()) + 1
    kind = (
        f"{len(faces):,} faces of {people:,} people"
        if people
        else f"{len(faces):,} unlabelled faces"
    )
    return f"{recipe.name}: {recipe.student.network} on {kind}{taught}; {options.steps:,} steps"
