import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.models.registry import create_backbone


def test_parameter_count_is_facenet_pytorchs():
    with torch.device("meta"):
        network = create_backbone("inception_resnet")
    assert sum(each.numel() for each in network.parameters()) == 23_482_624


@pytest.mark.parametrize(("size", "sides"), [(80, [7, 3, 1]), (160, [17, 8, 3])])
def test_sides_of_the_maps(size, sides):
    network = create_backbone("inception_resnet", width=0.125).eval()
    maps = network.forward_stages(torch.randn(1, 3, size, size))
    assert [each.shape[2] for each in maps] == sides
    assert network.forward_head(maps[-1]).shape == (1, 512)


def test_smaller_images_are_refused():
    with pytest.raises(FacedistillError, match="input_size=64"):
        create_backbone("inception_resnet", input_size=64)
