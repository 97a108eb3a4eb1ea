import pytest
import torch
from torch import nn

from facedistill.engine.optimizer import create_optimizer


@pytest.fixture
def module():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Linear(4, 2))
    module[3].bias.requires_grad_(False)
    return module


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_only_matrices_and_kernels_decay(module, kind):
    optimizer = create_optimizer(module, kind, 0.1, weight_decay=0.3)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    expected = {
        id(module[0].weight): 0.3,
        id(module[3].weight): 0.3,
        id(module[0].bias): 0.0,
        id(module[1].weight): 0.0,
        id(module[1].bias): 0.0,
        id(module[2].weight): 0.0,
    }
    assert decay == expected


def test_everything_decays_on_request_and_frozen_weights_are_left_out(module):
    optimizer = create_optimizer(module, "sgd", 0.1, weight_decay=0.3, decay_all=True)
    (group,) = optimizer.param_groups
    assert group["weight_decay"] == 0.3
    assert len(group["params"]) == 6


def test_options_arrive(module):
    sgd = create_optimizer(module, "sgd", 0.1, momentum=0.8, nesterov=True)
    assert isinstance(sgd, torch.optim.SGD)
    assert all(
        (g["lr"], g["momentum"], g["nesterov"]) == (0.1, 0.8, True) for g in sgd.param_groups
    )
    adamw = create_optimizer(module, "adamw", 0.2, betas=(0.8, 0.9))
    assert isinstance(adamw, torch.optim.AdamW)
    assert all((g["lr"], g["betas"]) == (0.2, (0.8, 0.9)) for g in adamw.param_groups)
