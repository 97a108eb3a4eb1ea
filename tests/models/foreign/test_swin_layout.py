from pathlib import Path

import torch

from facedistill.models.foreign.search import find_network
from facedistill.models.foreign.stored_tensor import StoredTensor
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec
from tests.models.foreign.foreign_file import conv, layer_norm, linear, norm, prefixed

DEPTHS, HEADS, FIRST = (2, 2, 18, 2), (3, 6, 12, 24), 96


def public_shapes():
    """FaceX-Zoo's Swin-S, made for images of side 224."""
    shapes = conv("patch_embed.proj", 3, FIRST, 4, bias=True) | layer_norm(
        "patch_embed.norm", FIRST
    )
    for stage, depth in enumerate(DEPTHS):
        width = FIRST * 2**stage
        for place in range(depth):
            name = f"layers.{stage}.blocks.{place}"
            shapes |= layer_norm(f"{name}.norm1", width) | layer_norm(f"{name}.norm2", width)
            shapes[f"{name}.attn.relative_position_bias_table"] = (169, HEADS[stage])
            shapes[f"{name}.attn.relative_position_index"] = (49, 49)
            if place % 2 and stage < 3:
                shapes[f"{name}.attn_mask"] = ((8 >> stage) ** 2, 49, 49)
            shapes |= linear(f"{name}.attn.qkv", width, 3 * width)
            shapes |= linear(f"{name}.attn.proj", width, width)
            shapes |= linear(f"{name}.mlp.fc1", width, 4 * width)
            shapes |= linear(f"{name}.mlp.fc2", 4 * width, width)
        if stage < 3:
            shapes |= linear(
                f"layers.{stage}.downsample.reduction", 4 * width, 2 * width, bias=False
            )
            shapes |= layer_norm(f"layers.{stage}.downsample.norm", 4 * width)
    shapes |= layer_norm("output_layer.0", 8 * FIRST)
    return shapes | linear("output_layer.2", 49 * 8 * FIRST, 512) | norm("output_layer.3", 512)


def test_names_and_shapes_are_facex_zoos():
    stored = {
        key: StoredTensor(shape, torch.float32, torch.empty)
        for key, shape in public_shapes().items()
    }
    found = find_network({"state_dict": prefixed(stored, "backbone.")}, Path("swin.pt"))
    assert found.recognised.architecture == "swin_small"
    assert found.recognised.arguments == {"embedding_size": 512, "patch": 4, "flat": True}
    assert found.recognised.input.spec() == InputSpec(224, "BGR", std=(128.0,) * 3)
    with torch.device("meta"):
        backbone = create_backbone("swin_small", input_size=224, **found.recognised.arguments)
    named = found.layout.renamed(found.weights)
    wanted = {key: tuple(tensor.shape) for key, tensor in backbone.state_dict().items()}
    assert {key: tensor.shape for key, tensor in named.items()} == wanted
