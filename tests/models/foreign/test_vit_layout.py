from pathlib import Path

import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.models.foreign.search import find_network
from facedistill.models.foreign.stored_tensor import StoredTensor
from facedistill.models.registry import create_backbone
from tests.models.foreign.foreign_file import conv, layer_norm, linear, norm, prefixed

PATH = Path("vit.pt")


def public_shapes(depth, width, patch, ratio):
    places = (112 // patch) ** 2
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
