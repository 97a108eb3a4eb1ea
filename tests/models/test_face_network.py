import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec


def tiny(**spec) -> FaceNetwork:
    return FaceNetwork.create(
        "mobilefacenet", InputSpec(**{"size": 32, **spec}), width=0.25, embedding_size=16
    )


def faces(batch: int = 3, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)


def test_forward_gives_what_is_asked():
    network = tiny().eval()
    assert network.gives == {"embedding", "feature_map", "stage_maps"}
    outputs = network(faces())
    assert outputs.embedding.shape == (3, 16)
    assert outputs.feature_map is None
    outputs = network(faces(), needs={"embedding", "feature_map"})
    assert outputs.feature_map.shape == (3, network.feature_channels, 2, 2)


@pytest.mark.parametrize(
    ("architecture", "arguments", "strides"),
    [
        ("mobilefacenet", {"width": 0.25}, [4, 8, 16]),
        ("mbf", {"scale": 1}, [4, 8, 16]),
        ("iresnet18", {"width": 0.25}, [2, 4, 8, 16]),
        ("resnet50", {"width_divisor": 8}, [4, 8, 16, 32]),
    ],
)
def test_maps_of_stages_end_with_the_last(architecture, arguments, strides):
    network = FaceNetwork.create(architecture, InputSpec(size=64), embedding_size=8, **arguments)
    network.train()(faces(4, 64))  # a fresh IResNet explodes without statistics
    outputs = network.eval()(faces(2, 64), {"embedding", "feature_map", "stage_maps"})
    assert [each.shape[2:] for each in outputs.stage_maps] == [(64 // s, 64 // s) for s in strides]
    assert outputs.stage_maps[-1] is outputs.feature_map
    assert len({each.shape[1] for each in outputs.stage_maps}) > 1
    assert network(faces(2, 64)).stage_maps is None


def test_forward_refuses_what_it_cannot_give():
    with pytest.raises(FacedistillError, match="cannot give tokens"):
        tiny()(faces(), needs=("tokens",))


def test_forward_refuses_floats():
    with pytest.raises(FacedistillError, match="uint8"):
        tiny()(torch.zeros(1, 32, 32, 3))


def test_embedding_is_float32_under_autocast():
    network = tiny().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(faces()).embedding.dtype == torch.float32


def test_bgr_network_sees_what_an_rgb_network_sees_of_swapped_images():
    rgb, bgr = tiny().eval(), tiny(color="BGR").eval()
    bgr.load_state_dict(rgb.state_dict())
    images = faces()
    torch.testing.assert_close(bgr(images).embedding, rgb(images.flip(3)).embedding)
    assert not torch.allclose(bgr(images).embedding, rgb(images).embedding)


def test_embed_is_the_normalised_sum_of_both_views():
    network = tiny()
    images = faces()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    result = network.embed(images)
    assert not result.requires_grad
    assert network.training
    assert network.backbone.bn.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    network.eval()
    with torch.no_grad():
        total = network(images).embedding + network(images.flip(2)).embedding
        plain = network(images).embedding
    torch.testing.assert_close(result, total / total.norm(dim=1, keepdim=True))
    torch.testing.assert_close(
        network.embed(images, flip=False), plain / plain.norm(dim=1, keepdim=True)
    )


def test_embed_takes_numpy_and_keeps_frozen_parts_frozen():
    network = tiny()
    network.backbone.bn.eval()
    result = network.embed(np.zeros((2, 48, 48, 3), np.uint8))
    assert result.shape == (2, 16)
    assert not network.backbone.bn.training


def test_weights_are_channels_last():
    weight = tiny().backbone.conv_3.model[0].conv.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_fingerprint_follows_weights_and_input():
    network = tiny()
    twin = tiny()
    assert network.fingerprint != twin.fingerprint
    twin.load_state_dict(network.state_dict())
    assert network.fingerprint == twin.fingerprint
    other_input = tiny(mean=(0, 0, 0))
    other_input.load_state_dict(network.state_dict())
    assert network.fingerprint != other_input.fingerprint
    with torch.no_grad():
        twin.backbone.bn.running_mean[0] += 1e-3
    assert network.fingerprint != twin.fingerprint


def test_input_size_belongs_to_the_input():
    with pytest.raises(FacedistillError, match="input_size"):
        FaceNetwork.create("mobilefacenet", InputSpec(size=32), input_size=64)


def test_the_backbone_trains():
    network = tiny()
    network(faces()).embedding.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
