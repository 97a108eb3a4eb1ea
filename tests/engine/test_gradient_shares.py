import pytest
import torch
from torch import nn

from facedistill.engine.gradient_shares import (
    STEPS_PER_TERM,
    gradient_shares,
    is_measured,
    last_shares,
    steps_between,
)
from facedistill.engine.metrics_log import read_metrics
from tests.engine.test_weights import norm
from tests.experiments.tiny_run import make_bank, train

DATA = "procedural:identities=8,images=4,size=16"


def test_shares_are_those_of_the_weighted_gradients():
    torch.manual_seed(0)
    network = nn.Linear(5, 3)
    output = network(torch.randn(7, 5))
    losses = {"square": (output**2).mean(), "small": 1e-3 * output.exp().mean()}
    factors = {"square": 0.5, "small": 20.0}
    pulls = {name: factors[name] * norm(losses[name], network.parameters()) for name in losses}
    total = sum(pulls.values())
    shares = gradient_shares(losses, factors, list(network.parameters()))
    assert shares == pytest.approx({name: pull / total for name, pull in pulls.items()}, rel=1e-5)
    assert gradient_shares({"only": losses["small"]}, factors, []) == {"only": 1.0}
    nothing = dict.fromkeys(losses, 0.0)
    assert gradient_shares(losses, nothing, list(network.parameters())) == {}


@pytest.mark.parametrize("terms", [1, 2, 5])
@pytest.mark.parametrize("log_every", [1, 20, 300])
def test_shares_are_measured_rarely_and_beside_a_record(terms, log_every):
    between = steps_between(terms, log_every)
    assert between % log_every == 0
    assert terms == 1 or between >= STEPS_PER_TERM * terms
    for steps in (6, between, 10 * between):
        measured = sum(is_measured(step, steps, between) for step in range(steps))
        assert measured == max(1, steps // between)


def test_a_run_logs_keeps_and_tells_its_shares(tmp_path):
    make_bank(tmp_path / "bank", DATA)
    lines = []
    settings = (f"data.train={DATA}", f"teacher.bank={tmp_path / 'bank'}", "objectives.fcd={}")
    summary = train(tmp_path / "run", *settings, say=lines.append)
    logged = [
        each for each in read_metrics(tmp_path / "run" / "metrics.jsonl") if "fcd.share" in each
    ]
    assert [each["step"] for each in logged] == [6]
    shares = {name: logged[0][f"{name}.share"] for name in ("margin_softmax", "fcd")}
    assert sum(shares.values()) == pytest.approx(1)
    assert last_shares(logged) == summary.gradient_shares == shares
    assert any(line.startswith("shares of the gradient: margin_softmax") for line in lines)
    again = train(tmp_path / "run", *settings)
    assert again.gradient_shares == pytest.approx(shares, abs=1e-4)


def test_measuring_shares_leaves_training_alone(tmp_path, monkeypatch):
    make_bank(tmp_path / "bank", DATA)
    settings = (
        f"data.train={DATA}", f"teacher.bank={tmp_path / 'bank'}", "objectives.fcd={}",
        "training.accumulate=2",
    )  # fmt: skip
    monkeypatch.setattr("facedistill.engine.loop.is_measured", lambda *_: True)
    often = train(tmp_path / "often", *settings)
    monkeypatch.setattr("facedistill.engine.loop.is_measured", lambda *_: False)
    never = train(tmp_path / "never", *settings)
    assert len(often.gradient_shares) == 2
    assert never.gradient_shares == {}
    assert often.model.read_bytes() == never.model.read_bytes()
    assert (tmp_path / "often" / "gradient_shares.png").is_file()
    assert not (tmp_path / "never" / "gradient_shares.png").exists()
