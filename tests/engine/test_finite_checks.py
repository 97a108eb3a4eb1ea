import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.loading.loader import Order
from facedistill.distill.objectives.base import Objective
from facedistill.distill.objectives.registry import objective
from facedistill.engine.metrics_log import read_metrics
from facedistill.experiments.build.training_data import split_data
from facedistill.experiments.run import run
from tests.engine.standin import tiny_recipe


def train(folder, *settings):
    run(tiny_recipe(*settings, "training.checkpoint_minutes=1e-9"), folder, lambda line: None)


@objective("poisoned_from_the_middle")
class Poisoned(Objective):
    """Is not a number from the fourth batch on."""

    needs = frozenset({"student.embedding"})

    def __init__(self, setting):
        super().__init__()
        self.batches = 0

    def forward(self, student, teacher, batch):
        self.batches += 1
        loss = student.embedding.mean()
        return (loss * float("nan") if self.batches > 3 else loss), {}


def test_a_loss_that_is_not_a_number_names_objective_step_and_batch(tmp_path):
    with pytest.raises(FacedistillError) as caught:
        train(tmp_path, "objectives.poisoned_from_the_middle={}")
    message = str(caught.value)
    assert "the loss of poisoned_from_the_middle is not finite at step 3 (epoch 0" in message
    faces, _ = split_data(tiny_recipe())
    (place,) = Order(len(faces), 8, 0).places(3, 4)
    assert faces.key(place[0][1]).hex() in message
    assert message.endswith("the checkpoint of step 3 is from before")
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    assert [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_where_there_is_no_checkpoint_none_is_spoken_of(tmp_path):
    with pytest.raises(FacedistillError, match="there is no checkpoint to go back to"):
        run(tiny_recipe("objectives.poisoned_from_the_middle={}"), tmp_path, lambda line: None)


@objective("smooth_nowhere")
class SmoothNowhere(Objective):
    """Is 0 everywhere, with a gradient that is not a number."""

    needs = frozenset({"student.embedding"})

    def __init__(self, setting):
        super().__init__()

    def forward(self, student, teacher, batch):
        return (0 * student.embedding).square().sum().sqrt(), {}


def test_a_gradient_that_is_not_a_number_reaches_no_checkpoint(tmp_path):
    with pytest.raises(FacedistillError, match=r"gradient of the sum of .*smooth_nowhere is not"):
        train(tmp_path, "objectives.smooth_nowhere={start: 0.5}")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in state["weights"].values())
