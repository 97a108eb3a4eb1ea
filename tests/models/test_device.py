import torch
from torch import nn

from facedistill.models.device import device_of


def test_the_device_is_that_of_the_weights():
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == device_of(len) == torch.device("cpu")
