"""Every switch of cross-architecture distillation, from the shipped recipe to what is trained."""

import shutil
from typing import Annotated

import pytest
import torch
from pydantic import Field

from facedistill.data.open import open_dataset
from facedistill.distill.objectives.cross_architecture.facial_position import (
    bucket_index,
    facial_distance,
)
from facedistill.distill.teachers.prompted import load_prompts
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments import run as run_module
from facedistill.experiments.run import run
from facedistill.experiments.run_figures import RunFigures
from facedistill.models.backbones.base import EmbeddingSize, InputSize
from facedistill.models.backbones.vit import ViT
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.heads.class_head import ClassHead, head_path, save_head
from facedistill.models.heads.margin import create_head
from facedistill.models.registry import register
from facedistill.recipe.loading import load_recipe
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers the student

FROZEN = ("teacher.prompts=null", "objectives.prompt_preservation=null")


@register
def standin_vit(
    embedding_size: EmbeddingSize = 8,
    input_size: InputSize = 32,
    patch: Annotated[int, Field(ge=1)] = 8,
) -> ViT:
    return ViT(
        4, 16, embedding_size=embedding_size, input_size=input_size, patch=patch,
        drop_path=0.1, mask_ratio=0.1, checkpointing=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    torch.manual_seed(7)
    paths = {}
    for name in ("swin_nano", "standin_vit"):
        paths[name] = tmp_path_factory.mktemp("teacher") / f"{name}.safetensors"
        save_model(FaceNetwork.create(name, InputSpec(size=32), embedding_size=12), paths[name])
    return paths


@pytest.fixture
def cakd(teachers, monkeypatch):
    """The shipped recipe on few small faces."""
    monkeypatch.setattr(run_module, "write_figures", lambda *anything: RunFigures())

    def make(*settings, teacher="swin_nano"):
        return load_recipe(
            "cakd",
            [
                "data.train=procedural:identities=6,images=4,size=32",
                "data.validation_identities=0",
                "data.workers=0",
                f"teacher.model={teachers[teacher]}",
                "student.network=standin",
                "student.embedding_size=8",
                "student.input.size=16",
                "objectives.urfm.width=16",
                "objectives.urfm.heads=2",
                "training.batch_size=8",
                "training.steps=1",
                "training.log_every=1",
                "training.device=cpu",
                *settings,
            ],
        )

    return make


@pytest.fixture
def made(cakd, tmp_path, monkeypatch):
    """What a run is about to train."""

    class Made(Exception):
        pass

    def stop(fit):
        raise Made(fit.bare_step, fit.optimizer)

    monkeypatch.setattr(run_module.Fit, "run", stop)

    def make(*settings):
        with pytest.raises(Made) as made:
            run(cakd(*settings), tmp_path / "run", lambda line: None)
        return made.value.args

    return make


def urfm_of(step):
    return step.objectives["urfm"]


def learning(optimizer):
    return {id(weight) for group in optimizer.param_groups for weight in group["params"]}


def test_the_shipped_recipe(made):
    step, optimizer = made()
    assert set(step.objectives) == {"fcd", "margin_softmax", "urfm", "prompt_preservation"}
    assert step.weights["fcd"].share is None
    assert sum(step.weights[name].share for name in ("margin_softmax", "urfm")) < 0.5
    urfm = urfm_of(step)
    assert urfm.student_centres.centres.shape == (49, 16)
    assert urfm.student_centres is urfm.teacher_centres
    assert (urfm.learns, urfm.options.places) == ("teacher_first", True)
    assert not urfm.student_centres.centres.requires_grad
    wanted = bucket_index(facial_distance(7, "saliency", 1.0, urfm.saliency), 4)
    assert torch.equal(urfm.student_centres.bucket, wanted)
    assert step.teacher.count == 10
    assert learning(optimizer) >= {id(prompt) for prompt in step.teacher.prompts}


def test_pixels_instead_of_receptive_fields(made):
    step, _ = made("objectives.urfm=null", "objectives.fitnet.weight=1")
    assert set(step.objectives) == {"fcd", "margin_softmax", "fitnet", "prompt_preservation"}
    assert step.teacher is not None


@pytest.mark.parametrize("position", ["none", "euclid", "relative"])
def test_position(made, position):
    step, _ = made(f"objectives.urfm.position={position}", *FROZEN)
    centres = urfm_of(step).student_centres
    if position == "none":
        assert centres.table is None
    else:
        wanted = bucket_index(facial_distance(7, position, 1.0), 4)
        assert torch.equal(centres.bucket, wanted)
    assert urfm_of(step).saliency is None


def test_without_prompts_nothing_of_the_teacher_trains(made, monkeypatch):
    frozen = []
    opened = run_module.open_teacher

    def open_and_remember(*asked):
        frozen.append(opened(*asked))
        return frozen[-1]

    monkeypatch.setattr(run_module, "open_teacher", open_and_remember)
    step, optimizer = made(*FROZEN)
    assert step.teacher is None
    (teacher,) = frozen
    weights = list(teacher.network.parameters())
    assert weights
    assert not any(weight.requires_grad for weight in weights)
    assert not learning(optimizer) & {id(weight) for weight in weights}


def test_numbers_of_centres_and_prompts(made):
    step, _ = made("objectives.urfm.centres=25", "teacher.prompts.count=3")
    assert urfm_of(step).student_centres.centres.shape == (25, 16)
    assert [len(prompt) for prompt in step.teacher.prompts] == [3, 3, 3]


@pytest.mark.parametrize("learns", ["student", "both"])
def test_centres_of_each_network(made, learns):
    step, optimizer = made("objectives.urfm.shared=false", f"objectives.urfm.learns={learns}")
    urfm = urfm_of(step)
    student, teacher = urfm.student_centres.centres, urfm.teacher_centres.centres
    assert not torch.equal(student, teacher)
    assert id(student) in learning(optimizer)
    assert (id(teacher) in learning(optimizer)) == (learns == "both")


def test_places(made):
    step, _ = made(*FROZEN)
    urfm = urfm_of(step)
    assert urfm.student_centres.places.shape == (49, 16)
    assert [len(local.places) for local in (urfm.student_local, urfm.teacher_local)] == [4, 16]


@pytest.mark.parametrize("same_identities", [True, False])
def test_classes_are_the_teachers_own_where_the_identities_are_the_same(
    made, teachers, tmp_path, same_identities
):
    data = "procedural:identities=6,images=4,size=32"
    fingerprint = open_dataset(data).fingerprint if same_identities else "others"
    path = tmp_path / "swin.safetensors"
    shutil.copy(teachers["swin_nano"], path)
    own = ClassHead(create_head("arcface", 12, 6), fingerprint, data)
    save_head(own, head_path(path), load_model(path))
    step, _ = made(f"teacher.model={path}", "objectives.prompt_preservation.by=classes")
    weight = step.objectives["prompt_preservation"].head.weight
    assert torch.equal(weight, own.head.weight) == same_identities


def test_an_iresnet_learns_from_a_swin_that_is_kept_by_its_classes(cakd, tmp_path):
    recipe = cakd(
        "student.network=iresnet18",
        "student.arguments.width=0.25",
        "student.input.size=32",
        "objectives.prompt_preservation.by=classes",
        "teacher.prompts.checkpointing=true",
        "training.steps=2",
    )
    run(recipe, tmp_path / "run", lambda line: None)
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert last["prompt_preservation"] > 0
    assert 0 <= last["prompt_preservation.accuracy"] <= 1
    student = load_model(tmp_path / "run" / "best.safetensors")
    fresh = FaceNetwork.create("iresnet18", InputSpec(size=32), embedding_size=8, width=0.25)
    assert student.state_dict().keys() == fresh.state_dict().keys()


def test_a_vit_with_prompts_teaches(cakd, teachers, tmp_path):
    run(cakd(teacher="standin_vit"), tmp_path / "run", lambda line: None)
    prompted = load_prompts(
        load_model(teachers["standin_vit"]), tmp_path / "run" / "prompts.safetensors"
    )
    assert [prompt.shape for prompt in prompted.prompts] == [(10, 16)] * 4
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert min(last["urfm"], last["prompt_preservation"]) > 0
