import subprocess
import sys

import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.models import registry
from facedistill.models.backbones.base import Backbone, scaled


def test_every_architecture_keeps_its_promises():
    assert "mobilefacenet" in registry.names()
    for name in registry.names():
        with torch.device("meta"):  # shapes without values: no time, even for the largest
            backbone = registry.create_backbone(name, embedding_size=24, input_size=96)
        backbone.to("meta").eval()
        assert isinstance(backbone, Backbone)
        images = torch.empty(2, 3, 96, 96, device="meta")
        with torch.no_grad():
            features = backbone.forward_features(images)
            embedding = backbone.forward_head(features)
        assert features.shape[:2] == (2, backbone.feature_channels)
        assert features.ndim == 4
        assert embedding.shape == (2, 24)
        assert backbone.embedding_size == 24


def test_importing_the_registry_imports_no_architecture():
    program = (
        "import sys, facedistill.models.registry; "
        "assert 'facedistill.models.backbones.mobilefacenet' not in sys.modules; "
        "assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_unknown_name_names_the_nearest():
    with pytest.raises(FacedistillError, match=r"mobilfacenet.*did you mean 'mobilefacenet'"):
        registry.create_backbone("mobilfacenet")


def test_unknown_argument_names_the_nearest():
    with pytest.raises(FacedistillError, match=r"widht.*did you mean 'width'"):
        registry.create_backbone("mobilefacenet", widht=0.5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 0},
        {"width": 1e9},
        {"width": "wide"},
        {"embedding_size": 0},
        {"embedding_size": 10**9},
        {"input_size": 100},
        {"input_size": 10**6},
    ],
)
def test_values_out_of_range_are_named(arguments):
    (name,) = arguments
    with pytest.raises(FacedistillError, match=f"mobilefacenet, argument {name}="):
        registry.create_backbone("mobilefacenet", **arguments)


def test_two_architectures_cannot_share_a_name():
    registry.names()

    def mobilefacenet():
        raise NotImplementedError

    with pytest.raises(ValueError, match="two architectures"):
        registry.register(mobilefacenet)


@pytest.mark.parametrize(
    ("channels", "width", "expected"), [(64, 0.25, 16), (64, 0.35, 24), (64, 0.01, 8), (64, 1, 64)]
)
def test_scaled_channels(channels, width, expected):
    assert scaled(channels, width) == expected
