import pytest
import torch

from facedistill.models.registry import create_backbone


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"units": (2, 2, 2, 2)}, 24_020_352),
        ({}, 43_585_600),
        ({"units": (3, 13, 30, 3)}, 65_150_912),
        ({"squeeze": True}, 43_808_320),
        ({"units": (3, 8, 36, 3), "bottleneck": True}, 109_636_736),
    ],
)
def test_parameter_counts_are_those_of_the_trainers(arguments, parameters):
    with torch.device("meta"):
        network = create_backbone("ir", **arguments)
    count = sum(each.numel() for each in network.parameters() if each.requires_grad)
    assert count == parameters


@pytest.mark.parametrize("size", [32, 48])
def test_stages_halve_the_map(size):
    network = create_backbone("ir", input_size=size, width=0.25, units=(1, 2, 1, 1), squeeze=True)
    maps = network.eval().forward_stages(torch.randn(2, 3, size, size))
    assert [each.shape[2] for each in maps] == [size // 2, size // 4, size // 8, size // 16]
    assert network.forward_head(maps[-1]).shape == (2, 512)
