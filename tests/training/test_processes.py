"""Two processes that share a batch learn what one process learns from the whole of it."""

import subprocess
import sys

import pytest
import torch

from facedistill.models.model_file import load_model
from facedistill.training.metrics import read_metrics
from facedistill.training.run import run
from tests.training.standin import tiny_recipe

# No batch norm: its statistics are those of a process's own share of the batch.
SETTINGS = ["student.arguments.norm=false", "training.accumulate=2"]

RANK = """
import sys
from tests.training.standin import tiny_recipe
from facedistill.training.run import run

run(tiny_recipe(*sys.argv[2:]), sys.argv[1], lambda line: None)
"""


def run_on_two(folder, tmp_path, *settings):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    launch = ["--nproc_per_node=2", "--standalone", str(script), str(folder), *settings]
    command = [sys.executable, "-m", "torch.distributed.run", *launch]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def test_two_processes_equal_one(tmp_path):
    run(tiny_recipe(*SETTINGS), tmp_path / "one", lambda line: None)
    run_on_two(tmp_path / "two", tmp_path, *SETTINGS)
    one, two = (
        load_model(tmp_path / name / "last.safetensors").backbone.state_dict()
        for name in ("one", "two")
    )
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-5, atol=1e-6)
    ours, theirs = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert [record["step"] for record in ours] == [record["step"] for record in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-5)
