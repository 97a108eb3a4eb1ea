import pytest
import torch
import torch.nn.functional as F

from facedistill.core.errors import FacedistillError
from facedistill.models.registry import create_backbone
from tests.models.backbones.network_by_hand import batch_norm, conv, randomise


@pytest.mark.parametrize(("divisor", "millions"), [(1, 23.5), (2, 5.89), (4, 1.48), (8, 0.374)])
def test_backbone_parameters_are_the_papers(divisor, millions):
    with torch.device("meta"):
        network = create_backbone("resnet50", width_divisor=divisor)
    head = sum(parameter.numel() for parameter in network.fc.parameters())
    total = sum(parameter.numel() for parameter in network.parameters())
    assert (total - head) / 1e6 == pytest.approx(millions, abs=0.01 * millions / 2)


def test_keys_are_torchvisions():
    with torch.device("meta"):
        keys = create_backbone("resnet50").state_dict().keys()
    weights = {key for key in keys if key.endswith("weight")}
    assert {"conv1.weight", "bn1.weight", "fc.weight", "fc.bias"} <= keys
    assert {"layer3.5.conv3.weight", "layer2.0.downsample.0.weight"} <= weights
    assert "layer3.6.conv1.weight" not in weights
    assert "layer2.1.downsample.0.weight" not in weights
    assert len(weights) == 2 * (1 + 3 * 16 + 4) + 1


@pytest.mark.parametrize("size", [32, 48])
def test_equals_the_network_by_hand(size):
    network = create_backbone("resnet50", embedding_size=12, input_size=size, width_divisor=8)
    w = randomise(network.eval())
    images = torch.randn(2, 3, size, size)
    x = F.relu(batch_norm(w, "bn1", conv(w, "conv1", images, 2)))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(batch_norm(w, f"{name}.bn1", conv(w, f"{name}.conv1", x)))
            y = F.relu(batch_norm(w, f"{name}.bn2", conv(w, f"{name}.conv2", y, stride)))
            y = batch_norm(w, f"{name}.bn3", conv(w, f"{name}.conv3", y))
            if block == 0:
                down = f"{name}.downsample"
                x = batch_norm(w, f"{down}.1", conv(w, f"{down}.0", x, stride))
            x = F.relu(x + y)
    embedding = F.linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])
    with torch.no_grad():
        torch.testing.assert_close(network.forward_features(images), x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(images), embedding, rtol=1e-4, atol=1e-4)


def test_blocks_begin_as_the_identity():
    network = create_backbone("resnet50", input_size=32, width_divisor=8).eval()
    x = torch.rand(2, 32, 8, 8)
    assert torch.equal(network.layer1[1](x), x)


def test_other_divisors_are_refused():
    with pytest.raises(FacedistillError, match="width_divisor=3"):
        create_backbone("resnet50", width_divisor=3)
