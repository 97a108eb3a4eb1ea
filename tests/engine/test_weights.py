import math

import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.embedding.fcd import FeatureConsistency
from facedistill.engine import loop
from facedistill.engine.metrics_log import read_metrics
from facedistill.engine.weights import AutoScales, Weight
from facedistill.experiments.run import run
from facedistill.recipe.loading import load_recipe
from tests.engine.standin import tiny_recipe
from tests.experiments.same_run import assert_same_run
from tests.experiments.tiny_run import make_bank


def test_a_weight_stays_falls_in_a_line_or_along_a_cosine():
    times = [0.1, 0.2, 0.4, 0.5, 0.6, 0.8]
    shapes = {
        "constant": [0, 0, 2, 2, 2, 0],
        "linear": [0, 0, 2, 1.75, 1.5, 0],
        "cosine": [0, 0, 2, 2 - (1 - math.cos(math.pi / 4)) / 2, 1.5, 0],
    }
    for shape, values in shapes.items():
        weight = Weight(2.0, start=0.2, stop=0.8, warmup=0.2, shape=shape, final=0.5)
        assert [weight.at(done) for done in times] == pytest.approx(values)
        assert weight.at(0.3) == pytest.approx(1.0)
    whole = Weight(3.0, shape="linear")
    assert [whole.at(done) for done in (0, 0.25, 1)] == pytest.approx([3, 2.25, 0])


def norm(loss, parameters):
    """The gradient's length, one parameter after the other."""
    total = 0.0
    for parameter in parameters:
        (gradient,) = torch.autograd.grad(loss, [parameter], retain_graph=True)
        total += float((gradient.double() ** 2).sum())
    return math.sqrt(total)


def test_each_term_begins_at_its_share_of_the_gradient():
    torch.manual_seed(0)
    network = nn.Linear(5, 3)
    output = network(torch.randn(7, 5))
    losses = {
        "fixed": (output**2).mean(),
        "other": output.abs().mean(),
        "small": 1e-3 * output.sin().mean(),
        "large": 1e3 * output.exp().mean(),
    }
    weights = {
        "fixed": Weight(2.0),
        "other": Weight(0.5),
        "small": Weight(share=0.3),
        "large": Weight(share=0.2, warmup=0.5),
    }
    auto = AutoScales(weights)
    assert auto.scale("small") == 0
    auto.find(losses, network.parameters())
    lengths = {
        name: weights[name].value * auto.scale(name) * norm(loss, network.parameters())
        for name, loss in losses.items()
    }
    whole = sum(lengths.values())
    assert lengths["small"] / whole == pytest.approx(0.3, rel=1e-4)
    assert lengths["large"] / whole == pytest.approx(0.2, rel=1e-4)
    # Found once: another batch does not move them, and a copy goes on with them.
    found = [auto.scale(name) for name in auto.names]
    auto.find({name: 5 * loss for name, loss in losses.items()}, network.parameters())
    again = AutoScales(weights)
    again.load_state_dict(auto.state_dict())
    again.find({name: 5 * loss for name, loss in losses.items()}, network.parameters())
    assert [auto.scale(n) for n in auto.names] == [again.scale(n) for n in auto.names] == found


def test_a_later_term_joins_at_its_share_and_one_without_gradient_waits():
    network = nn.Linear(2, 2)
    output = network(torch.ones(1, 2))
    weights = {"a": Weight(), "b": Weight(share=0.5), "c": Weight(share=0.25, start=0.5)}
    auto = AutoScales(weights)
    a, b, c = (output**2).sum(), (output**4).sum(), output.sin().sum()
    assert auto.late == []
    auto.find({"a": a, "b": b * 0}, network.parameters())
    assert auto.scale("b") == 0
    assert auto.late == ["b"]
    auto.find({"a": a, "b": b}, network.parameters())
    assert auto.late == []
    parts = [norm(loss, network.parameters()) for loss in (a, b, c)]
    assert auto.scale("b") * parts[1] == pytest.approx(parts[0], rel=1e-4)
    auto.find({"a": a, "b": b, "c": c}, network.parameters())
    assert auto.scale("c") * parts[2] == pytest.approx(2 * parts[0] / 3, rel=1e-4)


@pytest.mark.parametrize("size", [1e-10, 1e-6, 1.0, 3e3])
def test_half_precision_neither_swallows_small_gradients_nor_ends_at_large_ones(size):
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)), torch.randn(8, 6)

    def scale():
        auto = AutoScales({"fixed": Weight(), "sought": Weight(share=0.5)})
        output = network(images).float()
        losses = {"fixed": output.square().mean(), "sought": size * output.sin().sum()}
        auto.find(losses, network.parameters())
        return auto.scale("sought")

    exact = scale()
    with torch.autocast("cpu", torch.float16):
        assert scale() == pytest.approx(exact, rel=0.02)


def test_a_weight_that_is_never_found_is_warned_of(tmp_path, monkeypatch):
    make_bank(tmp_path / "bank", "procedural:identities=8,images=4,size=16")
    recipe = tiny_recipe(
        f"teacher.bank={tmp_path / 'bank'}", "teacher.licence=own",
        "objectives.fcd={weight: auto:0.3}", "training.steps=1",
    )  # fmt: skip
    monkeypatch.setattr(FeatureConsistency, "forward", lambda *_: (torch.zeros(()), {}))
    with pytest.warns(UserWarning, match="the automatic weight of fcd is not found yet"):
        run(recipe, tmp_path / "run", lambda line: None)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"a": Weight(), "b": Weight(share=0.6), "c": Weight(share=0.4)}, "leave a share"),
        ({"b": Weight(share=0.6)}, "whose weight is a number"),
        ({"a": Weight(stop=0.5), "b": Weight(share=0.6, start=0.5)}, "whose weight is a number"),
        ({"silent": Weight(), "b": Weight(share=0.6)}, "trains the student .* whose weight is a n"),
    ],
)
def test_shares_that_cannot_be_are_refused(weights, reason):
    with pytest.raises(FacedistillError, match=reason):
        AutoScales(weights, silent=["silent"])


@pytest.mark.parametrize("weight", ["auto", "auto:1", "auto:0", "auto:0.0", "half", "-1", "auto:x"])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(FacedistillError, match=r"objectives\.margin_softmax\.weight"):
        load_recipe("arcface", [f"objectives.margin_softmax.weight={weight}"])


def test_a_run_with_an_automatic_weight_goes_on_to_the_same_end(tmp_path, monkeypatch):
    make_bank(tmp_path / "bank", "procedural:identities=8,images=4,size=16")
    recipe = tiny_recipe(
        f"teacher.bank={tmp_path / 'bank'}", "teacher.licence=own",
        "objectives.fcd={weight: auto:0.3, start: 0.3, schedule: cosine}",
        "training.checkpoint_minutes=1.0e-9",
    )  # fmt: skip
    run(recipe, tmp_path / "whole", lambda line: None)
    weights = [r.get("fcd.weight") for r in read_metrics(tmp_path / "whole" / "metrics.jsonl")]
    assert weights[:2] == [None, None]
    assert weights[2] > weights[3] > weights[4] > weights[5] > 0

    save = loop.save_checkpoint

    def save_and_fail(path, state):
        save(path, state)
        if state["step"] == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_and_fail)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "cut", lambda line: None)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    run(recipe, tmp_path / "cut", lambda line: None)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
