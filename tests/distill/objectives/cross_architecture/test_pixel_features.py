import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.cross_architecture.pixel_features import (
    PixelFeatures,
    find_pixel_features,
    resampled,
)
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec


class Tokens(nn.Module):
    """Gives `count` tokens."""

    name, input = "tokens by hand", InputSpec(size=16)

    def __init__(self, count, gives=("embedding", "tokens")):
        super().__init__()
        self.count, self.gives = count, frozenset(gives)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, images, needs=("embedding",)):
        assert images.shape == (1, 16, 16, 3)
        return Outputs(tokens=self.norm(torch.ones(1, 3, self.count)).transpose(1, 2))


class Wide(nn.Module):
    """Gives a map that is no square."""

    name, input, gives = "map by hand", InputSpec(size=16), frozenset({"feature_map"})

    def forward(self, images, needs=("embedding",)):
        return Outputs(feature_map=torch.ones(1, 5, 2, 3))


def test_a_map_and_its_tokens_are_the_same_rows():
    grid = torch.randn(2, 3, 4, 4)
    tokens = torch.stack([grid[:, :, y, x] for y in range(4) for x in range(4)], dim=1)
    with_prompts = torch.cat([tokens, torch.randn(2, 5, 3)], dim=1)
    of_map, of_tokens = PixelFeatures("feature_map", 3, 4), PixelFeatures("tokens", 3, 4)
    assert torch.equal(of_map.rows(Outputs(feature_map=grid)), tokens)
    assert torch.equal(of_map.grid(Outputs(feature_map=grid)), grid)
    assert torch.equal(of_tokens.rows(Outputs(tokens=with_prompts)), with_prompts)
    assert torch.equal(of_tokens.grid(Outputs(tokens=with_prompts)), grid)
    with pytest.raises(FacedistillError, match="gave no tokens"):
        of_tokens.rows(Outputs(feature_map=grid))


def test_a_network_is_asked_without_a_trace():
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=48), width=0.25)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert find_pixel_features(network) == PixelFeatures("feature_map", 512, 3, (16, 32, 512))
    assert network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert find_pixel_features(Tokens(49)) == PixelFeatures("tokens", 3, 7)


def test_what_has_no_grid_of_pixels():
    assert find_pixel_features(Tokens(49, gives=["embedding"])) is None
    with pytest.raises(FacedistillError, match=r"hand gives 50 tokens, which fill no .*r\.bank"):
        find_pixel_features(Tokens(50))
    with pytest.raises(FacedistillError, match="map by hand gives a map of 2 x 3 pixels, which fi"):
        find_pixel_features(Wide())


def test_grids_are_resampled_to_what_they_cover():
    grid = torch.arange(36.0).view(1, 1, 6, 6)
    assert resampled(grid, 6) is grid
    wanted = [
        [float(grid[0, 0, y : y + 2, x : x + 2].mean()) for x in (0, 2, 4)] for y in (0, 2, 4)
    ]
    assert torch.equal(resampled(grid, 3)[0, 0], torch.tensor(wanted))
    # A plane stays one where it grows, but for the edges.
    inner = resampled(grid, 12)[0, 0, 1:-1, 1:-1]
    torch.testing.assert_close(inner.diff(dim=0), torch.full((9, 10), 3.0))
    torch.testing.assert_close(inner.diff(dim=1), torch.full((10, 9), 0.5))
