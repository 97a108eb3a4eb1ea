import pytest
import torch
import torch.nn.functional as F

from facedistill.models.backbones.iresnet import BLOCKS
from facedistill.models.registry import create_backbone
from tests.models.backbones.network_by_hand import batch_norm, conv, randomise

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def norm(name: str) -> list[str]:
    return [f"{name}.{key}" for key in BATCH_NORM]


def public_keys(blocks: tuple[int, ...]) -> set[str]:
    keys = ["conv1.weight", *norm("bn1"), "prelu.weight"]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            unit = f"layer{stage}.{block}"
            keys += [f"{unit}.conv1.weight", f"{unit}.conv2.weight", f"{unit}.prelu.weight"]
            keys += norm(f"{unit}.bn1") + norm(f"{unit}.bn2") + norm(f"{unit}.bn3")
        keys += [f"layer{stage}.0.downsample.0.weight", *norm(f"layer{stage}.0.downsample.1")]
    keys += [*norm("bn2"), "fc.weight", "fc.bias", *norm("features")]
    return set(keys)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("iresnet18", 24_025_600),
        ("iresnet34", 34_139_328),
        ("iresnet50", 43_590_848),
        ("iresnet100", 65_156_160),
        ("iresnet200", 118_833_920),
    ],
)
def test_keys_and_parameter_counts_are_insightfaces(name, parameters):
    with torch.device("meta"):
        network = create_backbone(name)
    assert set(network.state_dict()) == public_keys(BLOCKS[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.fc.weight.shape == (512, 512 * 7 * 7)


@pytest.mark.parametrize(("size", "width"), [(32, 0.25), (48, 0.375)])
def test_equals_the_network_by_hand(size, width):
    network = create_backbone("iresnet18", embedding_size=12, input_size=size, width=width).eval()
    w = randomise(network)
    images = torch.randn(2, 3, size, size)
    x = F.prelu(batch_norm(w, "bn1", conv(w, "conv1", images)), w["prelu.weight"])
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 - block
            y = conv(w, f"{name}.conv1", batch_norm(w, f"{name}.bn1", x))
            y = F.prelu(batch_norm(w, f"{name}.bn2", y), w[f"{name}.prelu.weight"])
            y = batch_norm(w, f"{name}.bn3", conv(w, f"{name}.conv2", y, stride))
            if block == 0:
                down = f"{name}.downsample"
                x = batch_norm(w, f"{down}.1", conv(w, f"{down}.0", x, stride))
            x = x + y
    x = batch_norm(w, "bn2", x)
    embedding = F.linear(x.flatten(1), w["fc.weight"], w["fc.bias"])
    embedding = batch_norm(w, "features", embedding)
    with torch.no_grad():
        torch.testing.assert_close(network.forward_features(images), x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(images), embedding, rtol=1e-4, atol=1e-4)


def test_initialisation_is_insightfaces():
    network = create_backbone("iresnet18", embedding_size=8, input_size=16)
    assert float(network.layer4[1].conv1.weight.detach().std()) == pytest.approx(0.1, rel=0.01)
    assert not network.features.weight.requires_grad
    assert network.features.bias.requires_grad
    assert (network.features.weight == 1).all()
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert frozen == ["features.weight"]
