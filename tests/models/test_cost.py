import pytest
import torch
from torch import nn

from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.registry import create_backbone


@pytest.mark.parametrize(("name", "millions"), [("mobilefacenet", 221), ("mbf", 437)])
def test_known_multiply_adds(name, millions):
    assert count_macs(create_backbone(name), 112) // 10**6 == millions


def test_counts_of_one_layer():
    layer = nn.Conv2d(3, 5, 3, padding=1)
    assert count_macs(layer, 8) == 8 * 8 * 5 * 3 * 9
    assert count_parameters(layer) == 5 * 3 * 9 + 5


def test_counting_changes_nothing():
    network = create_backbone("mobilefacenet", input_size=32, width=0.25).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    count_macs(network, 32)
    assert network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
