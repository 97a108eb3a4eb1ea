from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from facedistill.core.errors import FacedistillError
from facedistill.models.backbones.vit import SIZES
from facedistill.models.foreign.search import find_network
from facedistill.models.foreign.stored_tensor import StoredTensor
from facedistill.models.registry import create_backbone
from tests.models.foreign.foreign_file import (
    assert_equals_by_hand,
    conv,
    layer_norm,
    linear,
    norm,
    opened,
    prefixed,
    random_weights,
)

PATH = Path("vit.pt")


def public_shapes(depth, width, patch, ratio, side=112):
    places = (side // patch) ** 2
    shapes = conv("patch_embed.proj", 3, width, patch, bias=True) | layer_norm("norm", width)
    shapes |= {"pos_embed": (1, places, width)}
    for index in range(depth):
        name = f"blocks.{index}"
        shapes |= layer_norm(f"{name}.norm1", width) | layer_norm(f"{name}.norm2", width)
        shapes |= linear(f"{name}.attn.qkv", width, 3 * width, bias=False)
        shapes |= linear(f"{name}.attn.proj", width, width)
        shapes |= linear(f"{name}.mlp.fc1", width, ratio * width)
        shapes |= linear(f"{name}.mlp.fc2", ratio * width, width)
    shapes |= linear("feature.0", width * places, width, bias=False) | norm("feature.1", width)
    return shapes | linear("feature.2", width, 512, bias=False) | norm("feature.3", 512)


def by_hand(w, depth, heads, patch, x):
    """arcface_torch's and CVLface's `VisionTransformer` of `vit.py`, as it is evaluated."""
    images, width = len(x), w["pos_embed"].shape[2]

    def normed(name, x):
        return F.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def attention(name, x):
        qkv = (x @ w[f"{name}.qkv.weight"].T).reshape(images, -1, 3, heads, width // heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-2, -1)) * (width // heads) ** -0.5
        joined = (scores.softmax(-1) @ value).transpose(1, 2).reshape(images, -1, width)
        return F.linear(joined, w[f"{name}.proj.weight"], w[f"{name}.proj.bias"])

    def perceptron(name, x):
        inner = F.linear(x, w[f"{name}.fc1.weight"], w[f"{name}.fc1.bias"]).clamp(0, 6)
        return F.linear(inner, w[f"{name}.fc2.weight"], w[f"{name}.fc2.bias"])

    def last_norm(name, x):
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return (x - mean) / (var + 2e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    kernel = w["patch_embed.proj.weight"]
    x = F.conv2d(x, kernel, w["patch_embed.proj.bias"], stride=patch).flatten(2).transpose(1, 2)
    x = x + w["pos_embed"]
    for name in (f"blocks.{index}" for index in range(depth)):
        x = x + attention(f"{name}.attn", normed(f"{name}.norm1", x))
        x = x + perceptron(f"{name}.mlp", normed(f"{name}.norm2", x))
    x = normed("norm", x).reshape(images, -1)
    x = last_norm("feature.1", x @ w["feature.0.weight"].T)
    return last_norm("feature.3", x @ w["feature.2.weight"].T)


@pytest.mark.parametrize(
    ("architecture", "shape", "heads", "mask"),
    [
        ("vit_s", (12, 16, 8, 5), 8, {}),  # CVLface small, narrower
        ("vit_b", (24, 32, 8, 3), 16, {}),  # CVLface base
        ("vit_l", (24, 24, 9, 4), 8, {"mask_token": (1, 1, 24)}),  # arcface_torch
    ],
)
def test_equals_the_network_by_hand(tmp_path, monkeypatch, architecture, shape, heads, mask):
    depth, width, patch, _ = shape
    monkeypatch.setitem(SIZES, architecture, (depth, width))
    weights = random_weights(public_shapes(*shape, side=32) | mask)
    network, _ = opened(tmp_path / "vit.pt", prefixed(weights, "net."))
    assert network.architecture == architecture
    images = torch.randn(2, 3, 32, 32)
    assert_equals_by_hand(network, images, by_hand, weights, depth, heads, patch)


def stored(shapes):
    return {key: StoredTensor(shape, torch.float32, torch.empty) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shape", "name", "heads", "mask"),
    [
        ((12, 512, 8, 5), "vit_s", 8, {}),  # CVLface small
        ((24, 512, 8, 3), "vit_b", 16, {}),  # CVLface base
        ((24, 768, 9, 4), "vit_l", 8, {"mask_token": (1, 1, 768)}),  # arcface_torch
    ],
)
def test_names_and_shapes_are_the_trainers(shape, name, heads, mask):
    shapes = public_shapes(*shape) | mask
    found = find_network({"state_dict": prefixed(stored(shapes), "net.")}, PATH)
    _, _, patch, ratio = shape
    assert found.recognised.architecture == name
    assert found.recognised.arguments == {
        "embedding_size": 512,
        "patch": patch,
        "heads": heads,
        "mlp_ratio": ratio,
    }
    assert found.recognised.input.spec().color == "RGB"
    assert found.recognised.input.size == 112
    with torch.device("meta"):
        backbone = create_backbone(name, input_size=112, **found.recognised.arguments)
    named = found.layout.renamed(found.weights)
    wanted = {key: tuple(tensor.shape) for key, tensor in backbone.state_dict().items()}
    assert {key: tensor.shape for key, tensor in named.items()} == wanted


def test_a_transformer_that_is_fed_landmarks_is_named():
    shapes = public_shapes(24, 512, 8, 3) | linear("keypoint_linear", 10, 49)
    with pytest.raises(FacedistillError, match=r"vit\.pt: .*KP-RPE.*landmarks"):
        find_network(stored(shapes), PATH)
