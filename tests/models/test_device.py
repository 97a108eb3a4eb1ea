import numpy as np
import torch
from torch import nn

from facedistill.models.device import best_device, device_for, device_of


def test_the_device_is_that_of_the_weights():
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == device_of(len) == torch.device("cpu")


def test_the_best_device_is_the_accelerator_that_is_there(monkeypatch):
    found = {None: torch.device("cpu"), torch.device("cuda"): torch.device("cuda")}
    for accelerator, best in found.items():
        monkeypatch.setattr(
            torch.accelerator, "current_accelerator", lambda check_available, a=accelerator: a
        )
        assert best_device() == best


def test_float64_is_left_to_the_cpu_where_the_device_has_none():
    assert device_for(np.dtype("f8"), "mps") == torch.device("cpu")
    assert device_for(np.dtype("f4"), "mps") == torch.device("mps")
    assert device_for(np.dtype("f8"), "cuda") == torch.device("cuda")
