from pathlib import Path

import torch
import torch.nn.functional as F

from facedistill.models.backbones import swin
from facedistill.models.foreign.search import find_network
from facedistill.models.foreign.stored_tensor import StoredTensor
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec
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

DEPTHS, HEADS, FIRST = (2, 2, 18, 2), (3, 6, 12, 24), 96


def public_shapes(depths=DEPTHS, heads=HEADS, first=FIRST, size=512):
    """FaceX-Zoo's Swin-S, made for images of side 224."""
    shapes = conv("patch_embed.proj", 3, first, 4, bias=True) | layer_norm(
        "patch_embed.norm", first
    )
    for stage, depth in enumerate(depths):
        width = first * 2**stage
        for place in range(depth):
            name = f"layers.{stage}.blocks.{place}"
            shapes |= layer_norm(f"{name}.norm1", width) | layer_norm(f"{name}.norm2", width)
            shapes[f"{name}.attn.relative_position_bias_table"] = (169, heads[stage])
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
    shapes |= layer_norm("output_layer.0", 8 * first)
    return shapes | linear("output_layer.2", 49 * 8 * first, size) | norm("output_layer.3", size)


def windows_of(x):
    """The published `window_partition`, with windows of side 7."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // 7, 7, width // 7, 7, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, 49, channels)


def position_index():
    """The published index of relative positions within a window, (49, 49)."""
    places = torch.stack(torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij"))
    apart = places.flatten(1)[:, :, None] - places.flatten(1)[:, None, :]
    return (apart[0] + 6) * 13 + apart[1] + 6


def shifted_mask(side):
    """The published mask of windows that a shift by 3 has put together, (windows, 49, 49)."""
    parts, count = torch.zeros(1, side, side, 1), 0
    for rows in (slice(0, -7), slice(-7, -3), slice(-3, None)):
        for columns in (slice(0, -7), slice(-7, -3), slice(-3, None)):
            parts[:, rows, columns] = count
            count += 1
    part = windows_of(parts)[:, :, 0]
    return torch.where(part[:, None, :] != part[:, :, None], -100.0, 0.0)


def by_hand(w, depths, heads, x):
    """FaceX-Zoo's `SwinTransformer`, as it is evaluated."""

    def normed(name, x):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def dense(name, x):
        return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def attention(name, x, heads, mask):
        channels = x.shape[2]
        qkv = dense(f"{name}.qkv", x).reshape(len(x), 49, 3, heads, channels // heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = query * (channels // heads) ** -0.5 @ key.transpose(-2, -1)
        bias = w[f"{name}.relative_position_bias_table"][position_index().flatten()]
        scores = scores + bias.view(49, 49, heads).permute(2, 0, 1)
        if mask is not None:
            scores = scores.view(-1, len(mask), heads, 49, 49) + mask[None, :, None]
            scores = scores.view(-1, heads, 49, 49)
        joined = (scores.softmax(-1) @ value).transpose(1, 2).reshape(len(x), 49, channels)
        return dense(f"{name}.proj", joined)

    def block(name, x, heads, shifted):
        batch, side, _, channels = x.shape
        shift = 3 if shifted and side > 7 else 0
        y = normed(f"{name}.norm1", x).roll((-shift, -shift), (1, 2))
        mask = shifted_mask(side) if shift else None
        y = attention(f"{name}.attn", windows_of(y), heads, mask)
        y = y.view(batch, side // 7, side // 7, 7, 7, channels).permute(0, 1, 3, 2, 4, 5)
        x = x + y.reshape(batch, side, side, channels).roll((shift, shift), (1, 2))
        inner = F.gelu(dense(f"{name}.mlp.fc1", normed(f"{name}.norm2", x)))
        return x + dense(f"{name}.mlp.fc2", inner)

    x = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=4)
    x = normed("patch_embed.norm", x.permute(0, 2, 3, 1))
    for stage, depth in enumerate(depths):
        for place in range(depth):
            x = block(f"layers.{stage}.blocks.{place}", x, heads[stage], place % 2 == 1)
        if stage < 3:
            corners = [x[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
            joined = normed(f"layers.{stage}.downsample.norm", torch.cat(corners, -1))
            x = dense(f"layers.{stage}.downsample.reduction", joined)
    y = dense("output_layer.2", normed("output_layer.0", x).flatten(1))
    mean, var = w["output_layer.3.running_mean"], w["output_layer.3.running_var"]
    y = (y - mean) / (var + 1e-5).sqrt()
    return y * w["output_layer.3.weight"] + w["output_layer.3.bias"]


def test_equals_the_network_by_hand(tmp_path, monkeypatch):
    depths, heads = (2, 2, 3, 2), (2, 4, 8, 16)
    monkeypatch.setitem(swin.SIZES, "swin_small", (depths, 8))
    monkeypatch.setattr(swin, "HEAD_WIDTH", 4)
    weights = random_weights(public_shapes(depths, heads, 8, 6))
    for key in weights:
        if key.endswith("relative_position_index"):
            weights[key] = position_index()
        elif key.endswith("attn_mask"):
            weights[key] = shifted_mask(56 >> int(key.split(".")[1]))
    network, _ = opened(tmp_path / "swin.pt", {"state_dict": prefixed(weights, "backbone.")})
    assert network.architecture == "swin_small"
    assert_equals_by_hand(network, torch.randn(2, 3, 224, 224), by_hand, weights, depths, heads)


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
