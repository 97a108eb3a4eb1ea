"""Whole runs on a stand-in network: repeatable, resumable, and refused where they must be."""

import signal
import subprocess
import sys

import pytest
import torch

from facedistill.errors import FacedistillError
from facedistill.models.model_file import load_model
from facedistill.training.metrics import read_metrics
from facedistill.training.run import run
from tests.training.standin import tiny_recipe

KILLED = """
import os, signal, sys
from tests.training.standin import tiny_recipe
from facedistill.training import loop
from facedistill.training.run import run

number, at, folder, settings = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
train = loop.Fit._train

def train_and_stop(self, batch):
    if self.position.step == at:
        os.kill(os.getpid(), number)
    train(self, batch)

loop.Fit._train = train_and_stop
from facedistill.errors import Interrupted
try:
    run(tiny_recipe(*settings), folder, lambda line: None)
except Interrupted as stop:
    sys.exit(stop.exit_code)
"""

HARD = [
    "training.ema=0.9",
    "training.accumulate=2",
    "data.augmentation.rotation=10",
    "data.augmentation.blur=0.3",
    "student.arguments.dropout=0.2",
]


def silent(line):
    pass


def weights(folder, name="last"):
    return load_model(folder / f"{name}.safetensors").backbone.state_dict()


def assert_equal_runs(one, other):
    ours, theirs = weights(one), weights(other)
    for key, tensor in ours.items():
        assert torch.equal(tensor, theirs[key]), key
    assert read_metrics(one / "metrics.jsonl") == read_metrics(other / "metrics.jsonl")


def kill_and_resume(folder, number, settings, code):
    command = [sys.executable, "-c", KILLED, str(int(number)), "4", str(folder), *settings]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert stopped.returncode == code, stopped.stderr
    assert not (folder / "summary.json").exists()
    run(tiny_recipe(*settings), folder, silent)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_stopped_run_resumes_to_the_same_weights_and_metrics(tmp_path, optimizer, number, code):
    settings = [
        *HARD,
        f"optimizer.name={optimizer}",
        "optimizer.nesterov=false",
        "training.checkpoint_minutes=1e-9",
    ]
    run(tiny_recipe(*settings), tmp_path / "unbroken", silent)
    kill_and_resume(tmp_path / "broken", number, settings, code)
    assert_equal_runs(tmp_path / "unbroken", tmp_path / "broken")


def test_a_run_killed_before_its_first_checkpoint_starts_over_to_the_same_result(tmp_path):
    run(tiny_recipe(*HARD), tmp_path / "unbroken", silent)
    kill_and_resume(tmp_path / "broken", signal.SIGKILL, HARD, -signal.SIGKILL)
    assert_equal_runs(tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(tmp_path, workers):
    run(tiny_recipe(*HARD), tmp_path / "none", silent)
    other = tiny_recipe(*HARD, f"data.workers={workers}")
    run(other, tmp_path / "some", silent)
    assert_equal_runs(tmp_path / "none", tmp_path / "some")


def test_another_seed_gives_other_weights(tmp_path):
    run(tiny_recipe(), tmp_path / "zero", silent)
    run(tiny_recipe("seed=1"), tmp_path / "one", silent)
    assert not torch.equal(
        weights(tmp_path / "zero")["head.weight"], weights(tmp_path / "one")["head.weight"]
    )


def test_another_recipe_is_refused_and_the_folder_untouched(tmp_path):
    run(tiny_recipe(), tmp_path, silent)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(FacedistillError, match=r"another recipe \(its optimizer.lr is 0.1, not 1"):
        run(tiny_recipe("optimizer.lr=1"), tmp_path, silent)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_a_folder_in_use_is_refused_by_name(tmp_path):
    code = (
        "import sys, pathlib; from facedistill.training.folder import claim\n"
        "with claim(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FacedistillError, match="in use"):
            run(tiny_recipe(), tmp_path, silent)
        holder.stdin.close()
        holder.wait()
    run(tiny_recipe(), tmp_path, silent)


def test_a_loss_that_is_not_finite_names_objective_and_step(tmp_path):
    with pytest.raises(FacedistillError, match=r"loss of margin_softmax is not finite at step \d"):
        run(tiny_recipe("optimizer.lr=1e30", "training.clip=null"), tmp_path, silent)


def test_accumulated_micro_batches_equal_the_whole_batch(tmp_path):
    settings = ["student.arguments.norm=false"]
    run(tiny_recipe(*settings), tmp_path / "whole", silent)
    run(tiny_recipe(*settings, "training.accumulate=4"), tmp_path / "parts", silent)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for key, tensor in whole.items():
        torch.testing.assert_close(tensor, parts[key], rtol=1e-5, atol=1e-6)


def test_validation_people_choose_the_best_weights_and_the_thresholds(tmp_path):
    recipe = tiny_recipe(
        "data.train=procedural:identities=16,images=4,size=16",
        "data.validation_identities=8",
        "data.validation_pairs=20",
        "training.evaluate_every=1",
    )
    summary = run(recipe, tmp_path, silent)
    accuracies = [
        record["validation.accuracy"]
        for record in read_metrics(tmp_path / "metrics.jsonl")
        if "validation.accuracy" in record
    ]
    assert summary.validation == max(accuracies)
    model = load_model(summary.model)
    assert model.metadata.metrics == {"validation.accuracy": max(accuracies)}
    assert model.thresholds


def test_an_objective_without_its_teacher_is_refused_at_the_start(tmp_path):
    with pytest.raises(FacedistillError, match="needs a teacher"):
        run(tiny_recipe("objectives.fcd={}"), tmp_path, silent)
