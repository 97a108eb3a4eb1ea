from contextlib import nullcontext

import pytest
import torch

from facedistill.core.errors import Interrupted
from facedistill.core.signals import StopRequest
from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.engine import loop
from facedistill.engine.loop import Fit
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.run import run
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model
from facedistill.runtime.input_spec import InputSpec
from tests.engine.standin import tiny_recipe
from tests.experiments.whole_runs.two_processes import launch, run_interpreters, without_shares


def distilled_recipe(tmp_path, *settings):
    """A recipe whose result does not depend on how a batch is divided: it has no batch norm."""
    data = "procedural:identities=14,images=4,size=16"
    torch.manual_seed(5)
    teacher = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=12)
    embed_teacher(teacher, open_dataset(data), tmp_path / "bank")
    return tiny_recipe(
        f"data.train={data}",
        "data.validation_identities=6",
        "data.validation_pairs=20",
        "student.arguments={norm: false}",
        f"teacher.bank={tmp_path / 'bank'}",
        # Its projection has no gradient in the first half: DDP must cope.
        "objectives.fcd={start: 0.5}",
        "training.accumulate=2",
        "training.ema=0.5",
        "training.log_every=2",
        "training.evaluate_every=0.5",
        *settings,
    )


def assert_nearly_the_same_run(folder, other):
    first, second = (read_metrics(place / "metrics.jsonl") for place in (folder, other))
    assert len(first) == len(second) == 6
    for one, another in zip(map(without_shares, first), map(without_shares, second), strict=True):
        assert one == pytest.approx(another, rel=1e-5, abs=1e-6)
    for name in ("last", "best"):
        networks = [load_model(place / f"{name}.safetensors") for place in (folder, other)]
        for one, another in zip(*(net.backbone.parameters() for net in networks), strict=True):
            torch.testing.assert_close(one, another, rtol=1e-6, atol=1e-6)


def test_two_processes_train_what_one_trains(tmp_path):
    recipe = distilled_recipe(tmp_path)
    run(recipe, tmp_path / "one", lambda line: None)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    arguments = ["distill", str(path), "--out", str(tmp_path / "two")]

    for code, _, err, seen in launch(3, arguments):
        assert code == 75, err
        assert "stopped at step 3 of 6" in err
        assert seen["ddp"]
        assert seen["images"] == 3 * 4
    state = torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert list(state["means"]["counts"].values()) == [1.0] * 3

    main, other = launch(0, arguments, run_interpreters)
    assert main[0] == other[0] == 0, main[2] + other[2]
    assert main[3] == {"ddp": True, "evaluated": 2, "images": 12}
    assert other[3] == {"ddp": True, "evaluated": 0, "images": 12}
    assert "distilled from bank" in main[1]
    assert "distilled from bank" not in other[1]

    assert_nearly_the_same_run(tmp_path / "two", tmp_path / "one")


@pytest.fixture
def changing(tmp_path):
    """A recipe, a run of it by one process, and what starts the run that will change."""
    recipe = distilled_recipe(tmp_path, "data.augmentation={rotation: 10}", "teacher.view=clean")
    run(recipe, tmp_path / "one", lambda line: None)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    return recipe, ["distill", str(path), "--out", str(tmp_path / "changed")]


def test_two_processes_go_on_where_one_stopped(tmp_path, changing, monkeypatch):
    recipe, arguments = changing
    request, train = StopRequest(), Fit._train

    def train_and_ask(fit, batch):
        train(fit, batch)
        request.received = fit.position.step == 3

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_train", train_and_ask)
        patch.setattr(loop, "stop_request", lambda: nullcontext(request))
        with pytest.raises(Interrupted, match="stopped at step 3 of 6"):
            run(recipe, tmp_path / "changed", lambda line: None)
    for code, _, err, seen in launch(0, arguments):
        assert code == 0, err
        assert (seen["ddp"], seen["images"]) == (True, 3 * 4)
    assert_nearly_the_same_run(tmp_path / "changed", tmp_path / "one")


def test_one_process_goes_on_where_two_stopped(tmp_path, changing):
    recipe, arguments = changing
    for code, _, err, _ in launch(3, arguments):
        assert code == 75, err
    assert run(recipe, tmp_path / "changed", lambda line: None).steps == 6
    assert_nearly_the_same_run(tmp_path / "changed", tmp_path / "one")
