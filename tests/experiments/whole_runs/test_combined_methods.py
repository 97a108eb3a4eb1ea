"""Several methods in one run, those that remember earlier steps among them."""

from contextlib import nullcontext

import pytest
import torch

from facedistill.core.errors import Interrupted
from facedistill.core.signals import StopRequest
from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.engine import loop
from facedistill.engine.loop import Fit
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.run import run
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.engine.standin import tiny_recipe
from tests.experiments.same_run import assert_same_run

DATA = "procedural:identities=8,images=4,size=16"
TERMS = {
    "adadistill": {"weight": 0.1, "start": 0.5},
    "arcdistill": {"weight": 0.1},
    "cckd": {"weight": 2},
    "crd": {"weight": 0.2, "dimension": 6, "negatives": 5},
    "darkrank": {"weight": 0.5},
    "ekd": {"weight": 3},
    "fcd": {},
    "gkd": {"weight": 0.1},
    "rkd_angle": {"weight": 2},
    "triplet_distillation": {"weight": 1},
}


@pytest.fixture
def distilled(tmp_path):
    torch.manual_seed(5)
    teacher = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=12)
    embed_teacher(teacher, open_dataset(DATA), tmp_path / "bank")
    return [f"data.train={DATA}", f"teacher.bank={tmp_path / 'bank'}"]


@pytest.fixture
def recipe(distilled):
    terms = [f"objectives.{name}={options}" for name, options in TERMS.items()]
    return tiny_recipe(*distilled, "data.images_per_person=2", *terms)


def test_a_run_of_many_methods_goes_on_where_it_stopped(tmp_path, monkeypatch, recipe):
    request, train = StopRequest(), Fit._train

    def train_and_ask(fit, batch):
        train(fit, batch)
        request.received = fit.position.step == 4

    run(recipe, tmp_path / "whole", lambda line: None)
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_train", train_and_ask)
        patch.setattr(loop, "stop_request", lambda: nullcontext(request))
        with pytest.raises(Interrupted):
            run(recipe, tmp_path / "cut", lambda line: None)
    run(recipe, tmp_path / "cut", lambda line: None)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")

    records = [r for r in read_metrics(tmp_path / "whole" / "metrics.jsonl") if "loss" in r]
    assert len(records) == 6
    for number, record in enumerate(records):
        done = {**TERMS, "margin_softmax": {}}
        if number < 3:
            assert "adadistill" not in record
            del done["adadistill"]
        total = sum(options.get("weight", 1) * record[name] for name, options in done.items())
        assert record["loss"] == pytest.approx(total, rel=1e-5)


def test_centres_that_move_give_logits_of_their_own_scale_to_compare(
    tmp_path, monkeypatch, distilled
):
    scales, ask = set(), BankTeacher.__call__

    def ask_and_record(teacher, batch, needs):
        scales.add(teacher.scale)
        return ask(teacher, batch, needs)

    monkeypatch.setattr(BankTeacher, "__call__", ask_and_record)
    terms = ["adadistill={scale: 12}", "kd={}", "gkd={}", "margin_softmax=null"]
    recipe = tiny_recipe(*distilled, *(f"objectives.{term}" for term in terms))
    run(recipe, tmp_path / "run", lambda line: None)
    assert scales == {12}
