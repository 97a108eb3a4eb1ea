"""Runs whose objectives remember embeddings of earlier steps."""

from contextlib import nullcontext

import pytest
import torch

from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.signals import StopRequest
from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.engine import loop
from facedistill.engine.loop import Fit
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.run import run
from facedistill.models.face_network import FaceNetwork
from facedistill.recipe.loading import load_recipe
from facedistill.runtime.input_spec import InputSpec
from tests.engine.standin import tiny_recipe
from tests.experiments.same_run import assert_same_run
from tests.experiments.whole_runs.two_processes import launch, without_shares

DATA = "procedural:identities=12,images=4,size=16"
TERMS = {
    "rad": "objectives.rad={start: 0.5, warmup: 0.3, neighbours: 4, q: 0, squared: true}",
    "rad_queue": "objectives.rad_queue={start: 0.25, neighbours: 3, q: 0, queue: 20}",
}


@pytest.fixture
def recipe(tmp_path):
    """CoupleFace on 32 images of 8 identities: four steps show each of them once."""
    torch.manual_seed(5)
    teacher = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=12)
    embed_teacher(teacher, open_dataset(DATA), tmp_path / "bank")

    def make(term, *settings):
        return tiny_recipe(
            f"data.train={DATA}",
            "data.validation_identities=4",
            "data.validation_pairs=20",
            "student.arguments={norm: false}",
            f"teacher.bank={tmp_path / 'bank'}",
            "objectives.fcd={}",
            "objectives.mrd={weight: 0.1}",
            TERMS[term],
            "training.steps=8",
            "training.accumulate=2",
            *settings,
        )

    return make


def silent(line):
    pass


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("stop", [2, 6])
def test_a_run_goes_on_with_what_it_remembers(tmp_path, monkeypatch, recipe, term, stop):
    request, train = StopRequest(), Fit._train

    def train_and_ask(fit, batch):
        train(fit, batch)
        request.received = fit.position.step == stop

    run(recipe(term), tmp_path / "whole", silent)
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_train", train_and_ask)
        patch.setattr(loop, "stop_request", lambda: nullcontext(request))
        with pytest.raises(Interrupted):
            run(recipe(term), tmp_path / "cut", silent)
    run(recipe(term), tmp_path / "cut", silent)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    last = read_metrics(tmp_path / "cut" / "metrics.jsonl")[-2]
    assert last[f"{term}.valid"] == 1
    assert last[term] > 0


@pytest.mark.parametrize("term", TERMS)
def test_two_processes_remember_what_one_remembers(tmp_path, recipe, term):
    # Pairs of `mrd` are those of a micro-batch, which two processes cut otherwise.
    one = recipe(term, "objectives.mrd=null")
    run(one, tmp_path / "one", silent)
    path = tmp_path / "recipe.yaml"
    path.write_text(one.to_yaml())
    for code, _, err, seen in launch(0, ["distill", str(path), "--out", str(tmp_path / "two")]):
        assert code == 0, err
        assert seen["ddp"]
    states = [torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in ("two", "one")]
    memories = [
        {k: v for k, v in state["weights"].items() if k.endswith("_extra_state")}
        for state in states
    ]
    assert memories[0].keys() == memories[1].keys()
    assert memories[0]
    for name, memory in memories[0].items():
        for part, rows in memory.items():
            torch.testing.assert_close(rows, memories[1][name][part], atol=1e-3, rtol=0)
    two, alone = (read_metrics(tmp_path / n / "metrics.jsonl") for n in ("two", "one"))
    for first, second in zip(map(without_shares, two), map(without_shares, alone), strict=True):
        assert first == pytest.approx(second, rel=1e-3, abs=1e-4)


@pytest.fixture
def crops(tmp_path):
    """A flat folder of unlabelled images, and a teacher's bank of them."""
    faces = open_dataset(DATA)
    folder = tmp_path / "crops"
    folder.mkdir()
    for index in range(len(faces)):
        (folder / f"{index:03}.png").write_bytes(faces.encoded(index))
    torch.manual_seed(5)
    teacher = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=8)
    embed_teacher(teacher, open_dataset(folder), tmp_path / "bank")
    return [
        f"data.train={folder}",
        f"teacher.bank={tmp_path / 'bank'}",
        "student.network=standin",
        "student.embedding_size=8",
        "student.input.size=16",
        "data.workers=0",
        "training.steps=4",
        "training.batch_size=8",
        "training.log_every=1",
    ]


def test_crops_without_labels_train_a_student(tmp_path, crops):
    lines = []
    recipe = load_recipe("coupleface_unlabelled", [*crops, f"evaluation={{drawn: '{DATA}'}}"])
    summary = run(recipe, tmp_path / "run", lines.append)
    assert "on 48 unlabelled faces" in lines[0]
    assert summary.validation is None
    assert summary.evaluation["drawn"]["impostors"] > 0
    last = [r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "rad_queue" in r][-1]
    assert last["step"] == 4
    assert last["rad_queue.valid"] > 0


def test_a_warning_where_unlabelled_images_give_no_validation_identities(tmp_path, crops):
    recipe = load_recipe("fcd", crops)
    assert recipe.data.validation_identities > 0
    with pytest.warns(UserWarning, match=r"crops has no labels: no identities are split off"):
        summary = run(recipe, tmp_path / "run", silent)
    assert summary.validation is None
    assert summary.steps == 4


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("objectives.rad={}", "'rad' needs labels and the training data has none"),
        ("objectives.margin_softmax={}", "'margin_softmax' needs labels"),
        ("objectives.kd={}", "'kd' needs labels"),
    ],
)
def test_objectives_that_need_labels_are_refused_without(tmp_path, crops, setting, reason):
    with pytest.raises(FacedistillError, match=reason):
        run(load_recipe("coupleface_unlabelled", [*crops, setting]), tmp_path / "run", silent)
