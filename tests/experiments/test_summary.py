import json

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.experiments import measurement
from facedistill.experiments import run as run_module
from tests.experiments.tiny_run import train, without_intervals


def test_a_finished_run_is_not_repeated(tmp_path, monkeypatch):
    settings = ["evaluation.drawn=procedural:identities=8,images=4,size=16"]
    monkeypatch.setattr(measurement, "evaluate", without_intervals(measurement.evaluate))
    first = train(tmp_path, *settings)
    before = {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in tmp_path.iterdir()}
    monkeypatch.setattr(run_module, "split_data", None)
    monkeypatch.setattr(measurement, "evaluate", None)
    lines = []
    again = train(tmp_path, *settings, say=lines.append)
    assert len(lines) == 1
    assert "is finished, 6 steps" in lines[0]
    assert again.evaluation == first.evaluation
    assert again.evaluation["drawn"]["impostors"] > 0
    assert (again.model, again.steps, again.validation) == (first.model, 6, None)
    after = {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in tmp_path.iterdir()}
    assert {k: v for k, v in after.items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }


def test_a_run_cut_off_before_its_summary_only_measures(tmp_path, monkeypatch):
    train(tmp_path)
    (tmp_path / "summary.json").unlink()
    monkeypatch.setattr(run_module.Fit, "_train", None)
    assert train(tmp_path).steps == 6
    assert (tmp_path / "summary.json").exists()


def test_a_damaged_summary_is_named(tmp_path):
    train(tmp_path)
    path = tmp_path / "summary.json"
    whole = json.loads(path.read_text())
    for damage, place in (
        ("{}", "recipe"),
        ("[", "the file"),
        (json.dumps({**whole, "steps": "6"}), "steps"),
        (json.dumps({**whole, "skipped": [1]}), r"skipped\.0"),
        (json.dumps({**whole, "evaluation": {"lfw": 0.5}}), r"evaluation\.lfw"),
    ):
        path.write_text(damage)
        with pytest.raises(FacedistillError, match=rf"summary\.json is damaged \({place}: "):
            train(tmp_path)
