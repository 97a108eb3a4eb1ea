import copy
import os
import shutil
import signal

import pytest
import torch

from facedistill.core.errors import Interrupted
from facedistill.data.loading.loader import Loader, Order
from facedistill.data.loading.worker_processes import WorkerLost
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.engine.metrics_log import MetricsLog, read_metrics
from facedistill.engine.optimizer import create_optimizer
from facedistill.engine.schedule import create_schedule
from facedistill.experiments import run as run_module
from facedistill.experiments.build.student import create_student
from facedistill.experiments.build.training_data import split_data
from facedistill.experiments.run import run
from facedistill.models.files.model_file import load_model
from tests.engine.standin import tiny_recipe


def quiet(line):
    pass


def train(folder, *settings):
    return run(tiny_recipe(*settings), folder, quiet)


def weights_of(folder, name="last"):
    return load_model(folder / f"{name}.safetensors").backbone.state_dict()


def close(first, second, tolerance=1e-6):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=tolerance, atol=tolerance)


def naive(recipe):
    """The same training, written down plainly: the losses, the weights and their average."""
    faces, _ = split_data(recipe)
    options, optimizer = recipe.training, recipe.optimizer
    torch.manual_seed(recipe.seed)
    student = create_student(recipe.student)
    head = create_objective(
        "margin_softmax",
        RunContext(student.embedding_size, None, 8),
        **recipe.objectives["margin_softmax"].arguments,
    )
    both = torch.nn.ModuleList([student, head])
    tuner = create_optimizer(
        both, optimizer.name, optimizer.lr,
        weight_decay=optimizer.weight_decay, nesterov=optimizer.nesterov,
    )  # fmt: skip
    factor = create_schedule("cosine", options.steps)
    order = Order(len(faces), options.batch_size, recipe.seed)
    loader = Loader(faces, order, augmentation=recipe.data.augmentation)
    losses, average = [], None
    for step, batch in enumerate(loader.batches(0, options.steps)):
        loss, _ = head(student(batch.images), None, batch)
        tuner.zero_grad()
        loss.backward()
        gradients = [p.grad for p in both.parameters() if p.grad is not None]
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        for gradient in gradients:
            gradient *= min(1.0, (options.clip or float("inf")) / float(norm))
        for group in tuner.param_groups:
            group["lr"] = optimizer.lr * factor(step)
        tuner.step()
        losses.append(loss.item())
        now = {k: v.clone() for k, v in student.backbone.state_dict().items()}
        decay = options.ema or 0.0
        if average is None:
            average = copy.deepcopy(now)
        for name, value in now.items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value
    return losses, average


@pytest.mark.parametrize(
    "settings",
    [
        ["training.clip=0.5", "optimizer.name=sgd"],
        ["training.clip=null", "training.ema=0.7"],
        [
            "optimizer.name=adamw",
            "optimizer.nesterov=false",
            "optimizer.lr=0.01",
            "training.ema=0.5",
            # Before batch norm a bias has no gradient but noise, which AdamW would blow up.
            "student.arguments={norm: false}",
        ],
    ],
)
def test_the_loop_is_the_naive_loop(tmp_path, settings):
    recipe = tiny_recipe("training.steps=10", *settings)
    run(recipe, tmp_path, quiet)
    losses, weights = naive(recipe)
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [record["loss"] for record in records] == pytest.approx(losses, rel=1e-5)
    for name, tensor in weights_of(tmp_path).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, weights[name], rtol=1e-5, atol=1e-6)
    factor = create_schedule("cosine", 10)
    assert [r["lr"] for r in records] == [recipe.optimizer.lr * factor(step) for step in range(10)]


def test_clipping_makes_a_difference(tmp_path):
    train(tmp_path / "a", "training.clip=0.01")
    train(tmp_path / "b", "training.clip=null")
    assert not torch.equal(
        weights_of(tmp_path / "a")["head.weight"], weights_of(tmp_path / "b")["head.weight"]
    )


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_micro_batches_without_batch_norm_are_the_whole_batch(tmp_path, parts):
    settings = ["student.arguments={norm: false}", "training.log_every=2"]
    train(tmp_path / "whole", *settings)
    train(tmp_path / "parts", *settings, f"training.accumulate={parts}")
    close(weights_of(tmp_path / "parts"), weights_of(tmp_path / "whole"))
    for parts_record, whole_record in zip(
        read_metrics(tmp_path / "parts" / "metrics.jsonl"),
        read_metrics(tmp_path / "whole" / "metrics.jsonl"),
        strict=True,
    ):
        assert parts_record == pytest.approx(whole_record, rel=1e-5)


class Report:
    thresholds = {}  # noqa: RUF012

    def __init__(self, accuracy):
        self.score = accuracy
        self.figures = {"accuracy": accuracy}


@pytest.mark.parametrize(
    ("settings", "accuracies", "saved"),
    [
        ([], [0.5, 0.7, 0.7, 0.6], ["last", "best", "last", "best", "last", "last"]),
        (["training.evaluate_every=100"], [0.5], ["last", "best"]),
        (["training.evaluate_steps=9"], [0.5, 0.4], ["last", "best", "last"]),
        (["training.steps=1", "training.epochs=9"], [0.5], ["last", "best"]),
    ],
)
def test_the_first_of_the_best_is_kept_and_the_end_is_always_measured(
    tmp_path, monkeypatch, settings, accuracies, saved
):
    names, left = [], list(accuracies)
    monkeypatch.setattr(run_module.Run, "validate", lambda run, net: Report(left.pop(0)))
    monkeypatch.setattr(run_module.Run, "save", lambda run, net, name, rep: names.append(name))
    monkeypatch.setattr(run_module, "write_run_card", lambda *_: None)
    monkeypatch.setattr(run_module, "run_health", lambda *_: None)
    monkeypatch.setattr(run_module.Run, "_say_outcome", lambda *_: None)
    summary = train(
        tmp_path,
        "data.train=procedural:identities=14,images=4,size=16",
        "data.validation_identities=6",
        "data.validation_pairs=20",
        "training.steps=16",
        *settings,
    )
    assert not left
    assert names == saved
    assert summary.validation == max(accuracies)


def test_without_validation_the_best_weights_are_the_last(tmp_path):
    summary = train(tmp_path, "training.evaluate_every=0.5")
    assert summary.validation is None
    close(weights_of(tmp_path, "best"), weights_of(tmp_path, "last"), 0)


def test_a_request_to_stop_at_the_last_step_leaves_measuring_for_the_next_time(
    tmp_path, monkeypatch
):
    write = MetricsLog.write

    def write_and_ask(log, step, values):
        write(log, step, values)
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", write_and_ask)
        with pytest.raises(Interrupted, match=r"stopped at step 6 of 6, step 6 is saved in"):
            train(tmp_path)
    assert not (tmp_path / "summary.json").exists()
    assert train(tmp_path).steps == 6


def cut_off_at(step, event):
    """A loader whose batches are cut off by an event."""
    batches = Loader.batches

    def cut(loader, start, stop):
        for number, batch in enumerate(batches(loader, start, stop), start):
            if number == step:
                event()
            yield batch

    return cut


def lose_a_worker():
    raise WorkerLost("a process that reads images was ended by SIGKILL")


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("event", "raised", "message"),
    [
        (lose_a_worker, WorkerLost, r"ended by SIGKILL; step 4 is saved in {folder}"),
        (ask_to_stop, Interrupted, r"stopped at step 4 of 6, step 4 is saved in {folder}: run the"),
    ],
)
def test_what_ends_the_wait_for_a_batch_comes_after_a_checkpoint(
    tmp_path, monkeypatch, event, raised, message
):
    train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Loader, "batches", cut_off_at(4, event))
        with pytest.raises(raised, match=message.format(folder=tmp_path / "cut")):
            train(tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"] == 4
    train(tmp_path / "cut")
    close(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"), 0)


@pytest.mark.parametrize(
    ("event", "raised"), [(lose_a_worker, WorkerLost), (ask_to_stop, Interrupted)]
)
def test_without_a_step_no_checkpoint_is_announced(tmp_path, monkeypatch, event, raised):
    monkeypatch.setattr(Loader, "batches", cut_off_at(0, event))
    with pytest.raises(raised, match=f"no step is saved in {tmp_path} yet"):
        train(tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_evaluation_leaves_training_alone(tmp_path):
    settings = ["student.arguments={dropout: 0.3}", "training.ema=0.9"]
    train(tmp_path / "often", *settings, "training.evaluate_every=0.01")
    train(tmp_path / "once", *settings)
    close(weights_of(tmp_path / "often"), weights_of(tmp_path / "once"), 0)


@pytest.mark.parametrize("weight", ["1.0", "auto:0.3"])
def test_a_compiled_student_learns_the_same(tmp_path, weight):
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    settings = ["training.steps=2", "student.arguments={norm: false}", "data.images_per_person=2"]
    settings.append(f"objectives.triplet={{weight: {weight}, sampling: all}}")
    train(tmp_path / "plain", *settings)
    train(tmp_path / "compiled", *settings, "training.compile=true")
    close(weights_of(tmp_path / "compiled"), weights_of(tmp_path / "plain"), 1e-4)
