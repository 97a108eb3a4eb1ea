import json
import os
import re

import cv2
import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.signals import STOP_SIGNALS
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.engine import loop
from facedistill.engine.metrics_log import MetricsLog, read_metrics
from facedistill.experiments import measurement
from facedistill.experiments import run as run_module
from facedistill.experiments.build import training_data as data_module
from facedistill.experiments.folder import claim
from facedistill.experiments.run import run
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.recipe import training_length
from facedistill.recipe.loading import load_recipe, shipped_recipes
from facedistill.runtime.input_spec import InputSpec
from tests import child_process
from tests.child_process import call_command
from tests.engine.standin import tiny_recipe
from tests.experiments.same_run import assert_same_run
from tests.experiments.tiny_run import make_bank, train, without_intervals


def run_and_die(at, signal, *words):
    """Send the process a signal when it has logged a step, and keep every third checkpoint."""
    write, save = MetricsLog.write, loop.save_checkpoint

    def write_and_die(log, step, values):
        write(log, step, values)
        if step == at:
            os.kill(os.getpid(), signal)

    def save_some(path, state):
        if state["step"] % 3 == 0 or signal == 15:
            save(path, state)

    MetricsLog.write, loop.save_checkpoint = write_and_die, save_some
    call_command(*words)


RESUMED = [
    "data.train=procedural:identities=14,images=4,size=16",
    "data.validation_identities=6",
    "data.validation_pairs=20",
    "data.augmentation={rotation: 10, brightness: 0.3, occlusion: 0.5}",
    "data.workers=1",
    "student.arguments={dropout: 0.3}",
    "training.steps=9",
    "training.accumulate=2",
    "training.ema=0.7",
    "training.evaluate_every=0.5",
    "training.log_every=2",
    "training.checkpoint_minutes=1.0e-9",
]
ADAMW = ["optimizer.name=adamw", "optimizer.nesterov=false", "optimizer.lr=0.01"]


@pytest.mark.parametrize(
    ("signal", "settings", "code", "step", "logged"),
    [(15, ADAMW, 75, 4, 4), (9, [], -9, 6, 8)],
    ids=["SIGTERM-adamw", "SIGKILL-sgd"],
)
def test_a_run_cut_off_goes_on_to_the_same_end(tmp_path, signal, settings, code, step, logged):
    recipe = tiny_recipe(*RESUMED, *settings)
    run(recipe, tmp_path / "whole", lambda line: None)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    words = ["train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "cut")]
    ended = child_process.run(run_and_die, logged, signal, *words)
    assert ended.code == code, ended.err
    if code == 75:
        assert f"stopped at step {step} of 9" in ended.err
        assert "run the same command to go on" in ended.err
    cut = torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)
    assert cut["step"] == step
    assert read_metrics(tmp_path / "cut" / "metrics.jsonl")[-1]["step"] == logged
    assert not (tmp_path / "cut" / "summary.json").exists()
    run(recipe, tmp_path / "cut", lambda line: None)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize(
    ("moment", "standing"),
    [
        ("create_training_step", "no step is saved in {folder} yet: run the same command again"),
        ("write_run_card", "{folder} keeps its checkpoint: run the same command to go on"),
    ],
)
def test_a_signal_outside_the_loop_stops_at_once_and_the_run_goes_on(
    tmp_path, monkeypatch, moment, standing, number
):
    with monkeypatch.context() as patch:
        patch.setattr(run_module, moment, lambda *_: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted, match=standing.format(folder=tmp_path)):
            train(tmp_path, "training.steps=1")
    assert not (tmp_path / "summary.json").exists()
    assert train(tmp_path, "training.steps=1").steps == 1


def test_masked_pairs_are_measured_and_labelled_as_masked(tmp_path, monkeypatch):
    pairs = "procedural:identities=8,images=4,size=16"
    settings = [
        f"evaluation={{plain: '{pairs}', masked: {{pairs: '{pairs}', mask: one}}}}",
        "training.steps=1",
    ]
    monkeypatch.setattr(measurement, "evaluate", without_intervals(measurement.evaluate))
    lines = []
    figures = train(tmp_path, *settings, say=lines.append).evaluation
    assert (figures["plain"]["masked"], figures["masked"]["masked"]) == (None, "one")
    assert figures["plain"]["auc"] != figures["masked"]["auc"]
    assert ["(second image masked)" in line for line in lines[-2:]] == [False, True]


def test_groups_of_identities_are_compared_and_stand_in_the_card(tmp_path, monkeypatch):
    table = tmp_path / "groups.csv"
    table.write_text("identity,side\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(16)))
    pairs = "procedural:identities=16,images=6,size=16"
    settings = [f"evaluation.drawn={{pairs: '{pairs}', groups: {table}}}", "training.steps=1"]
    monkeypatch.setattr(measurement, "evaluate", without_intervals(measurement.evaluate))
    lines = []
    figures = train(tmp_path / "run", *settings, say=lines.append).evaluation["drawn"]
    (sides,) = figures["fairness"]
    assert [group["group"] for group in sides["groups"]] == ["a", "b"]
    assert "by side at cosine" in lines[-1]
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "On drawn, by side." in card
    assert str(tmp_path) not in card
    assert f"groups: {table.name}\n" in card
    for group in sides["groups"]:
        refused = f"{100 * group['fnmr']['value']:.3f}"
        assert re.search(rf"\| {group['group']} \| [^|]+ \| {refused} ", card)
    # The groups are part of the measurement, and a table without a second group is refused.
    tests, source = open_pairs(pairs), load_recipe(tmp_path / "run/recipe.yaml").evaluation["drawn"]
    known = measurement.fingerprint(tests, source)
    table.write_text(table.read_text().replace("0,a", "0,b"))
    assert measurement.fingerprint(tests, source) != known
    table.write_text("identity,side\n0,a\n1,a\n")
    monkeypatch.setattr(run_module, "create_student", None)
    with pytest.raises(FacedistillError, match=r"groups\.csv, side: fewer than two groups"):
        train(tmp_path / "other", *settings)


def test_a_run_goes_on_with_another_number_of_workers(tmp_path):
    first = train(tmp_path, "data.workers=0")
    (tmp_path / "summary.json").unlink()
    assert train(tmp_path, "data.workers=1", "data.cache=ram").steps == first.steps


def test_one_identity_alone_is_refused_where_identities_are_learned(tmp_path):
    one = "data.train=procedural:identities=1,images=8,size=16"
    with (
        pytest.warns(UserWarning, match="all 8 images are of one identity, so there is nothing"),
        pytest.raises(FacedistillError, match="objective 'margin_softmax' learns to tell"),
    ):
        train(tmp_path, one, "training.steps=1")
    assert not list(tmp_path.iterdir())


def test_a_run_says_how_it_goes_and_how_it_ended_beside_its_teacher(tmp_path):
    data = "procedural:identities=12,images=4,size=16"
    make_bank(tmp_path / "bank", data)
    settings = [
        *(f"data.train={data}", "data.validation_identities=6", "data.validation_pairs=20"),
        *(f"teacher.bank={tmp_path / 'bank'}", "training.evaluate_steps=3", "training.ema=0.9"),
        "objectives.fcd={}",
    ]
    lines = []
    train(tmp_path / "run", *settings, say=lines.append)
    first, last = (line for line in lines if line.startswith("step "))
    assert re.fullmatch(
        r"step 3 of 6: loss [\d.]+, validation accuracy [\d.]+ % \(best so far\)", first
    )
    assert last.startswith("step 6 of 6: loss ")
    head, student, teacher, difference = lines[-4:]
    assert head.split() == [*["on", "what", "is", "split", "off", "to", "validate", "accuracy"]]
    assert re.match(r"student \(best, step [36]\) +[\d.]+ %$", student)
    assert re.match(r"teacher \(from the bank\) +[\d.]+ %$", teacher)
    percent = [float(line.split()[-2]) for line in (student, teacher)]
    found = re.match(r"student - teacher +([-+][\d.]+) \(.* to .*\) percentage points$", difference)
    assert float(found[1]) == pytest.approx(percent[0] - percent[1], abs=0.011)
    (tmp_path / "run" / "summary.json").unlink()
    lines.clear()
    train(tmp_path / "run", *settings, say=lines.append)
    assert "resumed at step 6 of 6" in lines
    assert [head, student, teacher, difference] == lines[-4:]


def test_a_folder_in_which_nothing_was_made_can_be_used_again(tmp_path):
    with pytest.raises(FacedistillError, match="no such file or folder"):
        train(tmp_path, "data.train=nowhere")
    assert not list(tmp_path.iterdir())
    assert train(tmp_path).steps == 6


def test_a_folder_in_use_is_refused(tmp_path):
    with claim(tmp_path), pytest.raises(FacedistillError, match="in use by another"):
        train(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense"])
def test_a_damaged_checkpoint_is_one_error(tmp_path, content):
    (tmp_path / "recipe.yaml").write_text(tiny_recipe().to_yaml())
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(FacedistillError, match=r"checkpoint .* is damaged .*: delete it"):
        train(tmp_path)


def test_a_checkpoint_that_does_not_fit_is_one_error(tmp_path):
    train(tmp_path)
    (tmp_path / "summary.json").unlink()
    path = tmp_path / "checkpoint.pt"
    whole = torch.load(path, weights_only=True)
    for part in ("weights", "optimizer", "random", "step"):
        torch.save({**whole, part: {}}, path)
        with pytest.raises(FacedistillError, match="does not fit this run"):
            train(tmp_path)
        torch.save({k: v for k, v in whole.items() if k != part}, path)
        with pytest.raises(FacedistillError, match="does not fit this run"):
            train(tmp_path)


def test_runs_of_several_precisions_follow_each_other(tmp_path):
    losses = {}
    for number, precision in enumerate(("fp32", "bf16", "fp32")):
        train(tmp_path / str(number), f"training.precision={precision}")
        losses[number] = read_metrics(tmp_path / str(number) / "metrics.jsonl")[0]["loss"]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_what_cannot_run_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "Loader", None)  # nothing is read
    cases = {
        "training.precision=fp16": "fp16 is for accelerators",
        "objectives.fcd={}": "'fcd' needs a teacher",
        "objectives.fdc={}": "did you mean 'fcd'",
        "objectives.margin_softmax.hed=arcface": "hed",
        "teacher.bank=nowhere": "nowhere",
        "student.network=mobilfacenet": "did you mean 'mobilefacenet'",
        "student.init=nowhere.safetensors": "does not exist",
        "data.train=nowhere": "no such file or folder",
        "evaluation.lfw=nowhere.bin": "nowhere",
        "objectives.margin_softmax.start=0.5": "no objective is on",
    }
    if torch.cuda.is_available():
        del cases["training.precision=fp16"]
    else:
        cases["training.device=cuda"] = "there is none"
    for setting, reason in cases.items():
        with pytest.raises(FacedistillError, match=reason):
            train(tmp_path, setting)
    monkeypatch.setenv("CXX", "nowhere")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FacedistillError, match=r"needs a C\+\+ compiler"):
        train(tmp_path, "training.compile=true")


def test_corrupt_images_are_left_out_counted_and_named(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(16):
        path = tmp_path / "faces" / f"identity{number % 4}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (16, 16, 3), np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    path.write_bytes(path.read_bytes()[:-30])
    settings = [f"data.train={tmp_path / 'faces'}", "data.workers=1"]
    with pytest.raises(FacedistillError, match=path.name):
        train(tmp_path / "stop", *settings)
    lines = []
    summary = train(tmp_path / "skip", *settings, "data.on_error=skip", say=lines.append)
    assert len(summary.skipped) == 1
    assert path.name in summary.skipped[0]
    assert "left out 1 corrupt images" in lines[-1]
    assert json.loads((tmp_path / "skip" / "summary.json").read_text())["skipped"] == (
        summary.skipped
    )


@pytest.fixture(scope="module")
def drawn_bank(tmp_path_factory):
    """A bank of the faces that shipped recipes are tried on."""
    folder = tmp_path_factory.mktemp("drawn") / "bank"
    make_bank(folder, "procedural:identities=24,images=4,size=32")
    return folder


def test_maps_at_the_ends_of_stages_are_learned_from_a_cnn(tmp_path):
    torch.manual_seed(5)
    network = FaceNetwork.create("mbf", InputSpec(size=32), embedding_size=12, scale=1)
    save_model(network, tmp_path / "teacher.safetensors")
    settings = [
        "data.train=procedural:identities=8,images=4,size=32",
        "data.validation_identities=0",
        "data.workers=0",
        f"teacher.model={tmp_path / 'teacher.safetensors'}",
        "student.arguments={width: 0.25}",
        "student.input.size=32",
        "objectives.margin_softmax=null",
        "objectives.at={stages: 2}",
        "objectives.fitnet={stage: 2}",
        "training.batch_size=8",
        "training.steps=2",
        "training.log_every=1",
    ]
    run(load_recipe("at", settings), tmp_path / "run", lambda line: None)
    for record in read_metrics(tmp_path / "run" / "metrics.jsonl"):
        assert record["at"] == pytest.approx(record["at.last"] + record["at.last_1"])
        assert record["loss"] == pytest.approx(record["at"] + record["fitnet"])
        assert min(record["at.last"], record["at.last_1"], record["fitnet"]) > 0


def test_a_run_begins_by_saying_what_the_length_came_to(tmp_path, monkeypatch):
    monkeypatch.setattr(training_length, "LEAST_STEPS", 100)
    said = []
    recipe = tiny_recipe("training.epochs=auto", "training.steps=null")
    assert run(recipe, tmp_path / "run", said.append).steps == 100
    assert said[0].endswith("; 100 steps (25 epochs, by training.epochs: auto)")


# Those of whole_runs/test_transfer.py run there, one after the other.
@pytest.mark.parametrize("name", sorted({*shipped_recipes()} - {"classification", "verification"}))
def test_every_shipped_recipe_runs(tmp_path, drawn_bank, name):
    settings = [
        "data.train=procedural:identities=24,images=4,size=32",
        "data.validation_identities=8",
        "data.validation_pairs=20",
        "data.workers=0",
        "student.arguments={width: 0.25}",
        "student.input.size=32",
        "training.batch_size=8",
        "training.steps=2",
        "training.log_every=1",
    ]
    teacher = load_recipe(name).teacher
    if teacher is not None and teacher.bank is None:
        torch.manual_seed(5)
        network = FaceNetwork.create("swin_nano", InputSpec(size=32), embedding_size=12)
        save_model(network, tmp_path / "teacher.safetensors")
        settings.append(f"teacher.model={tmp_path / 'teacher.safetensors'}")
    elif teacher is not None:
        settings.append(f"teacher.bank={drawn_bank}")
    summary = run(load_recipe(name, settings), tmp_path / "run", lambda line: None)
    assert 0 <= summary.validation <= 1
    losses = [r["loss"] for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in r]
    assert len(losses) == 2
    model = load_model(summary.model)
    assert model.metadata.recipe_hash == load_recipe(name, settings).hash
    figure = "validation.nme" if name == "landmarks" else "validation.accuracy"
    assert model.metadata.metrics[figure] == pytest.approx(summary.validation)
