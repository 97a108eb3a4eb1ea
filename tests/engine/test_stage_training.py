"""A stage that learns from a teacher alone, with a stand-in for both."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError, Interrupted
from facedistill.core.signals import StopRequest
from facedistill.data.batch import Batch
from facedistill.distill.objectives.teacher_stage import (
    StageLength,
    StageOrigin,
    TeacherStage,
    load_stage,
)
from facedistill.engine import stage_training
from facedistill.engine.stage_training import StageFiles, StageTraining
from facedistill.models.outputs import Outputs

ORIGIN = StageOrigin("t" * 32, "a teacher", "f" * 32, "network", "same")
STEPS = 6


class Slope(TeacherStage):
    """Finds the slope that the teacher multiplies by."""

    noun, needs = "slope", frozenset({"embedding"})

    def __init__(self, start=0.0, **length):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(start))
        self.length = StageLength(epochs=2.0, lr=0.1, batch_size=2, **length)

    def essence(self):
        return {"of": "slopes"}

    def forward(self, teacher, batch):
        loss = (teacher.embedding - self.slope * batch.images.float().mean((1, 2, 3))).square()
        return loss.mean(), {"slope": self.slope.detach()}


class Threes:
    """A teacher that gives three times the mean of an image."""

    def check(self, needs):
        assert needs == {"embedding"}

    def __call__(self, batch, needs):
        return Outputs(embedding=3 * batch.images.float().mean((1, 2, 3)))


class Order:
    batch_size, steps_per_epoch = 2, 3


class Batches:
    """Batches of two images by step."""

    order = Order()

    def batches(self, start, stop):
        for step in range(start, stop):
            images = np.random.default_rng(step).integers(0, 3, (2, 1, 1, 3), np.uint8)
            yield Batch(
                torch.from_numpy(images), torch.zeros(2, dtype=torch.int64),
                torch.zeros(2, dtype=torch.bool), np.zeros((2, 16), np.uint8),
            )  # fmt: skip


def learn(stage, path, teacher=None):
    files, cpu = StageFiles(path), torch.device("cpu")
    return StageTraining(stage, teacher or Threes(), Batches(), ORIGIN, files, cpu).run()


def test_it_learns_and_leaves_its_file(tmp_path):
    stage, path = Slope(), tmp_path / "slope.safetensors"
    figures = learn(stage, path)
    assert stage.slope > 0.1
    assert set(figures) == {"loss", "slope"}
    other = Slope()
    assert load_stage(other, path, ORIGIN.teacher, "a teacher") == figures
    assert torch.equal(other.slope, stage.slope)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("stop", range(1, STEPS))
def test_one_that_is_cut_off_ends_as_if_it_had_not_been(tmp_path, monkeypatch, stop):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    learn(Slope(), whole)
    request, steps = StopRequest(), []

    class Stopping(Threes):
        def __call__(self, batch, needs):
            steps.append(batch)
            request.received = len(steps) == stop
            return super().__call__(batch, needs)

    with monkeypatch.context() as patch:
        patch.setattr(stage_training, "stop_request", lambda: nullcontext(request))
        with pytest.raises(Interrupted, match=f"step {stop} of 6 of the slope, saved in .*cut"):
            learn(Slope(), cut, Stopping())
    assert not cut.exists()
    learn(Slope(start=7.0), cut)  # the checkpoint has all, whatever it begins with
    assert cut.read_bytes() == whole.read_bytes()


def test_a_checkpoint_of_other_options_is_refused(tmp_path, monkeypatch):
    request = StopRequest()
    request.received = True
    monkeypatch.setattr(stage_training, "stop_request", lambda: nullcontext(request))
    with pytest.raises(Interrupted):
        learn(Slope(), tmp_path / "slope.safetensors")
    with pytest.raises(FacedistillError, match="a run of another recipe"):
        learn(Slope(seed=1), tmp_path / "slope.safetensors")


def test_what_is_not_finite_or_cannot_be_kept(tmp_path):
    with pytest.raises(FacedistillError, match="loss of the slope is not finite at step 0"):
        learn(Slope(start=float("inf")), tmp_path / "slope.safetensors")
    (tmp_path / "file").touch()
    stage = Slope()
    with pytest.warns(UserWarning, match="the slope is not kept, to be learned anew"):
        learn(stage, tmp_path / "file" / "slope.safetensors")
    assert stage.slope > 0.1
