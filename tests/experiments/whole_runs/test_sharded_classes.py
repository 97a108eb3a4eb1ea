import torch

from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.run import run
from facedistill.models.files.model_file import load_model
from facedistill.models.heads.class_head import head_path, load_head
from tests.engine.standin import tiny_recipe
from tests.experiments.whole_runs.two_processes import launch

HEAD = "objectives.margin_softmax={head: adaface, scale: 8, m: 0.1, "


def recipe(options, *settings):
    """Of 9 identities, by which neither 2 nor 4 processes are even."""
    return tiny_recipe(
        "data.train=procedural:identities=9,images=4,size=16",
        "student.arguments={norm: false}",
        HEAD + options + "}",
        "training.clip=0.05",
        "training.evaluate_every=0.5",
        *settings,
    )


def say_nothing(line):
    pass


def trained(folder):
    """Losses, and weights of the network and its class head."""
    network = load_model(folder / "last.safetensors")
    head = load_head(head_path(folder / "last.safetensors"), network)
    losses = [record["loss"] for record in read_metrics(folder / "metrics.jsonl")]
    return torch.tensor(losses), torch.cat(
        [each.detach().flatten() for each in (*network.backbone.parameters(), head.head.weight)]
    )


def assert_the_same(one, another, **tolerance):
    for first, second in zip(trained(one), trained(another), strict=True):
        torch.testing.assert_close(first, second, **tolerance)


def launched(stop, path, out, processes):
    return launch(stop, ["train", str(path), "--out", str(out)], processes=processes)


def test_a_sharded_head_trains_what_a_whole_one_trains(tmp_path):
    run(recipe("sub_centres: 2"), tmp_path / "whole", say_nothing)
    run(recipe("sub_centres: 2, sharded: true"), tmp_path / "one", say_nothing)
    assert_the_same(tmp_path / "one", tmp_path / "whole", rtol=1e-5, atol=1e-6)

    path = tmp_path / "recipe.yaml"
    path.write_text(recipe("sub_centres: 2, sharded: true").to_yaml())
    for code, _, err, _ in launched(3, path, tmp_path / "many", 4):
        assert code == 75, err
    stored = torch.load(tmp_path / "many" / "checkpoint.pt", weights_only=True)
    assert stored["weights"]["objectives.margin_softmax.head.head.weight"].shape == (18, 8)
    for code, _, err, _ in launched(0, path, tmp_path / "many", 2):
        assert code == 0, err
    assert_the_same(tmp_path / "many", tmp_path / "whole", rtol=1e-4, atol=1e-5)


def test_a_sampled_head_goes_on_in_fewer_processes(tmp_path):
    settings = "sharded: true, sample_rate: 0.5"
    path = tmp_path / "recipe.yaml"
    path.write_text(
        recipe(settings, "optimizer={name: adamw, lr: 0.01, nesterov: false}").to_yaml()
    )
    for code, _, err, _ in launched(3, path, tmp_path / "run", 4):
        assert code == 75, err
    stored = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    heads = [each for each in stored["optimizer"]["state"].values() if len(each["exp_avg"]) == 9]
    assert heads
    for code, _, err, _ in launched(0, path, tmp_path / "run", 2):
        assert code == 0, err
    losses, weights = trained(tmp_path / "run")
    assert len(losses) == 6
    assert losses.isfinite().all()
    assert weights.isfinite().all()
