"""Runs whose teacher's mapping learns before the student does."""

import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.engine.checkpoint import CHECKPOINT
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments import run as run_module
from facedistill.experiments.run import run
from facedistill.experiments.run_figures import RunFigures
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.runtime.input_spec import InputSpec
from tests.engine.standin import tiny_recipe
from tests.experiments.same_run import assert_same_run

URFM = (
    "objectives.urfm={centres: 4, width: 16, heads: 2, position: euclid, learns: teacher_first, "
    "mapping_epochs: 1, mapping_batch: 16}"
)


@pytest.fixture
def swin(tmp_path):
    torch.manual_seed(7)
    path = tmp_path / "swin.safetensors"
    save_model(FaceNetwork.create("swin_nano", InputSpec(size=32), embedding_size=12), path)
    return path


@pytest.fixture
def recipe(swin, monkeypatch):
    monkeypatch.setattr(run_module, "write_figures", lambda *anything: RunFigures())

    def make(*settings):
        return tiny_recipe(
            "data.train=procedural:identities=12,images=4,size=32",
            "data.validation_identities=4",
            "data.validation_pairs=20",
            "student.arguments={norm: false}",
            f"teacher.model={swin}",
            URFM,
            "objectives.fcd={}",
            "optimizer={name: adamw, lr: 0.01}",
            "training.steps=2",
            *settings,
        )

    return make


def mapping_of(folder):
    state = torch.load(folder / CHECKPOINT, weights_only=True)["weights"]
    names = ("student_centres", "teacher_local", "student_attention")
    return {k: v for k, v in state.items() if any(f"urfm.{name}" in k for name in names)}


def test_arms_and_seeds_share_one_mapping(tmp_path, recipe, swin):
    lines = []
    run(recipe(), tmp_path / "first", lines.append)
    (kept,) = tmp_path.glob("swin-mapping-*.safetensors")
    assert any("learns from swin alone, once" in line for line in lines)
    lines.clear()
    run(recipe(), tmp_path / "second", lines.append)
    # Found or trained, the run is the same.
    assert_same_run(tmp_path / "second", tmp_path / "first")
    assert not any("once" in line for line in lines)
    prompts = ("teacher.prompts={count: 2}", "objectives.prompt_preservation={}", "seed=3")
    run(recipe(*prompts), tmp_path / "arm", lines.append)
    assert [kept] == list(tmp_path.glob("swin-mapping-*.safetensors"))
    first, arm = mapping_of(tmp_path / "first"), mapping_of(tmp_path / "arm")
    assert len(first) > 5
    assert all(torch.equal(arm[name], weight) for name, weight in first.items())


def test_a_mapping_that_is_named_is_taken_or_refused(tmp_path, recipe):
    run(recipe(), tmp_path / "first", lambda line: None)
    (kept,) = tmp_path.glob("swin-mapping-*.safetensors")
    elsewhere = tmp_path / "elsewhere.safetensors"
    kept.rename(elsewhere)
    named = f"objectives.urfm.mapping={elsewhere}"
    run(recipe(named, "data.validation_identities=2"), tmp_path / "named", lambda line: None)
    assert not list(tmp_path.glob("swin-mapping-*.safetensors"))
    with pytest.raises(FacedistillError, match="mapping with centres: 4, and the recipe has 9"):
        run(recipe(named, "objectives.urfm.centres=9"), tmp_path / "other", lambda line: None)
    missing = "objectives.urfm.mapping=nowhere.safetensors"
    with pytest.raises(FacedistillError, match=r"nowhere\.safetensors does not exist"):
        run(recipe(missing), tmp_path / "other", lambda line: None)


def test_tokens_of_a_bank_teach_as_the_network_does(tmp_path, recipe, swin):
    faces = open_dataset("procedural:identities=12,images=4,size=32")
    embed_teacher(load_model(swin), faces, tmp_path / "bank", tokens=True)
    saliency, cached = "objectives.urfm.position=saliency", f"teacher.bank={tmp_path / 'bank'}"
    mapping = "objectives.urfm.learns=student"
    settings = (saliency, mapping, "objectives.fitnet={}", "training.steps=1")
    run(recipe(*settings), tmp_path / "online", lambda line: None)
    run(recipe(*settings, cached), tmp_path / "cached", lambda line: None)
    one, other = (
        [r for r in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in r]
        for name in ("online", "cached")
    )
    # What is compared differs by the rounding of fp16 alone; steps of AdamW would enlarge that.
    assert len(one) == len(other) == 1
    assert one[0] == pytest.approx(other[0], rel=0.01, abs=1e-3)
    run(recipe(cached, "teacher.model=null"), tmp_path / "alone", lambda line: None)
    assert list((tmp_path / "bank").glob("*-mapping-*.safetensors"))
    with pytest.raises(FacedistillError, match=r"saliency map, which no bank keeps: give teacher"):
        run(recipe(cached, "teacher.model=null", saliency), tmp_path / "not", lambda line: None)
