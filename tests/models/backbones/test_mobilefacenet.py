import pytest
import torch
import torch.nn.functional as F

from facedistill.models.backbones.mobilefacenet import mobilefacenet
from tests.models.backbones.network_by_hand import batch_norm, conv, randomise

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def activated(name: str) -> list[str]:
    return [*linear(name), f"{name}.prelu.weight"]


def linear(name: str) -> list[str]:
    return [f"{name}.conv.weight", *(f"{name}.bn.{key}" for key in BATCH_NORM)]


def bottleneck(name: str) -> list[str]:
    return activated(f"{name}.conv") + activated(f"{name}.conv_dw") + linear(f"{name}.project")


def public_keys() -> set[str]:
    keys = activated("conv1") + activated("conv2_dw") + activated("conv_6_sep")
    for name in ("conv_23", "conv_34", "conv_45"):
        keys += bottleneck(name)
    for name, blocks in (("conv_3", 4), ("conv_4", 6), ("conv_5", 2)):
        for block in range(blocks):
            keys += bottleneck(f"{name}.model.{block}")
    keys += [*linear("conv_6_dw"), "linear.weight", *(f"bn.{key}" for key in BATCH_NORM)]
    return set(keys)


def test_keys_are_those_of_the_public_checkpoints():
    assert set(mobilefacenet().state_dict()) == public_keys()


@pytest.mark.parametrize(
    ("width", "input_size", "parameters"),
    [(1.0, 112, 1_200_512), (0.5, 112, 549_056), (0.25, 64, 353_888)],
)
def test_parameter_counts(width, input_size, parameters):
    with torch.device("meta"):
        network = mobilefacenet(input_size=input_size, width=width)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(("input_size", "width"), [(32, 0.25), (48, 0.5), (112, 0.25)])
def test_shapes(input_size, width):
    network = mobilefacenet(embedding_size=20, input_size=input_size, width=width).eval()
    features = network.forward_features(torch.randn(2, 3, input_size, input_size))
    assert features.shape == (2, 512, input_size // 16, input_size // 16)
    assert network.forward_head(features).shape == (2, 20)


def test_only_stride_one_bottlenecks_have_a_shortcut():
    network = mobilefacenet(input_size=32, width=0.25)
    assert not network.conv_45.shortcut
    block = network.conv_5.model[0].eval()
    torch.nn.init.zeros_(block.project.conv.weight)
    x = torch.randn(1, 32, 4, 4)
    torch.testing.assert_close(block(x), x)


def test_equals_the_network_by_hand():
    size = 32
    network = mobilefacenet(embedding_size=12, input_size=size, width=0.25).eval()
    w = randomise(network)

    def block(name, x, stride=1, pad=None):
        y = batch_norm(w, f"{name}.bn", conv(w, f"{name}.conv", x, stride, pad))
        slope = w.get(f"{name}.prelu.weight")
        return y if slope is None else F.prelu(y, slope)

    def bottleneck(name, x, stride):
        y = block(f"{name}.conv_dw", block(f"{name}.conv", x), stride)
        y = block(f"{name}.project", y)
        return x + y if stride == 1 else y

    images = torch.randn(2, 3, size, size)
    x = block("conv2_dw", block("conv1", images, 2))
    for reduce, stage, blocks in (("23", "3", 4), ("34", "4", 6), ("45", "5", 2)):
        x = bottleneck(f"conv_{reduce}", x, 2)
        for index in range(blocks):
            x = bottleneck(f"conv_{stage}.model.{index}", x, 1)
    x = block("conv_6_sep", x)
    pooled = block("conv_6_dw", x, pad=0).flatten(1)
    embedding = batch_norm(w, "bn", F.linear(pooled, w["linear.weight"]))
    with torch.no_grad():
        torch.testing.assert_close(network.forward_features(images), x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(images), embedding, rtol=1e-4, atol=1e-4)
