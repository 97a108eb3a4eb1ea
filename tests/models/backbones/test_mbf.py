import pytest
import torch
import torch.nn.functional as F

from facedistill.models.registry import create_backbone
from tests.models.backbones.network_by_hand import batch_norm, conv, randomise

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def linear(name: str) -> list[str]:
    return [f"{name}.layers.0.weight", *(f"{name}.layers.1.{key}" for key in BATCH_NORM)]


def activated(name: str) -> list[str]:
    return [*linear(name), f"{name}.layers.2.weight"]


def bottleneck(name: str) -> list[str]:
    expand, depthwise = activated(f"{name}.layers.0"), activated(f"{name}.layers.1")
    return expand + depthwise + linear(f"{name}.layers.2")


def public_keys(blocks: tuple[int, int, int, int]) -> set[str]:
    keys = activated("layers.0") + activated("conv_sep")
    if blocks[0] == 1:
        keys += activated("layers.1")
    for index, count in zip((1, 3, 5, 7), blocks, strict=True):
        if (index, count) != (1, 1):
            for block in range(count):
                keys += bottleneck(f"layers.{index}.layers.{block}")
    for index in (2, 4, 6):
        keys += bottleneck(f"layers.{index}")
    keys += [*linear("features.layers.0"), "features.layers.2.weight"]
    keys += [f"features.layers.3.{key}" for key in BATCH_NORM]
    return set(keys)


@pytest.mark.parametrize(
    ("name", "blocks", "parameters", "stem"),
    [("mbf", (1, 4, 6, 2), 2_059_520, 128), ("mbf_large", (2, 8, 12, 4), 6_314_880, 256)],
)
def test_keys_and_parameter_counts_are_insightfaces(name, blocks, parameters, stem):
    with torch.device("meta"):
        network = create_backbone(name)
    assert set(network.state_dict()) == public_keys(blocks)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.state_dict()["layers.0.layers.0.weight"].shape == (stem, 3, 3, 3)


def test_second_convolution_has_scale_channels_a_group():
    weights = create_backbone("mbf", input_size=16).state_dict()
    assert weights["layers.1.layers.0.weight"].shape == (128, 2, 3, 3)


@pytest.mark.parametrize(
    ("name", "options"),
    [("mbf", {}), ("mbf", {"scale": 1, "blocks": (1, 1, 2, 1)}), ("mbf_large", {"scale": 1})],
)
def test_equals_the_network_by_hand(name, options):
    size = 32
    network = create_backbone(name, embedding_size=12, input_size=size, **options).eval()
    w = randomise(network)

    def block(name, x, stride=1, pad=None):
        y = batch_norm(w, f"{name}.layers.1", conv(w, f"{name}.layers.0", x, stride, pad))
        slope = w.get(f"{name}.layers.2.weight")
        return y if slope is None else F.prelu(y, slope)

    def bottleneck(name, x, stride):
        y = block(f"{name}.layers.0", x)
        y = block(f"{name}.layers.1", y, stride)
        y = block(f"{name}.layers.2", y)
        return x + y if stride == 1 else y

    images = torch.randn(2, 3, size, size)
    x = block("layers.0", images, 2)
    for index in range(1, 8):
        if f"layers.{index}.layers.0.weight" in w:
            x = block(f"layers.{index}", x)
        elif index % 2 == 0:
            x = bottleneck(f"layers.{index}", x, 2)
        else:
            number = 0
            while f"layers.{index}.layers.{number}.layers.0.layers.0.weight" in w:
                x = bottleneck(f"layers.{index}.layers.{number}", x, 1)
                number += 1
    x = block("conv_sep", x)
    pooled = block("features.layers.0", x, pad=0).flatten(1)
    embedding = batch_norm(w, "features.layers.3", F.linear(pooled, w["features.layers.2.weight"]))
    with torch.no_grad():
        torch.testing.assert_close(network.forward_features(images), x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(images), embedding, rtol=1e-4, atol=1e-4)
