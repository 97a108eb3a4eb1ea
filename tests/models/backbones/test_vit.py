import math

import pytest
import torch
import torch.nn.functional as F

from facedistill.core.errors import FacedistillError
from facedistill.models.backbones.vit import ViT
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.foreign.foreign_weights import load_foreign
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec

SIDE, PATCH, PLACES = 32, 9, 9
"""Patches of 9 see 27 of 32 pixels: three by three."""


def tiny(**changes) -> ViT:
    options = {"embedding_size": 6, "input_size": SIDE, "patch": PATCH, "drop_path": 0.0}
    return ViT(6, 16, **{**options, "mask_ratio": 0.0, "checkpointing": False, **changes})


def public_checkpoint(width=256, depth=12, embedding_size=24) -> dict[str, torch.Tensor]:
    """A state dict of the names and shapes that arcface_torch writes, with random values."""
    shapes = {
        "pos_embed": (1, PLACES, width),
        "mask_token": (1, 1, width),
        "patch_embed.proj.weight": (width, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "feature.0.weight": (width, width * PLACES),
        "feature.2.weight": (embedding_size, width),
    }
    for index in range(depth):
        name = f"blocks.{index}"
        for norm in ("norm1", "norm2"):
            shapes |= {f"{name}.{norm}.weight": (width,), f"{name}.{norm}.bias": (width,)}
        shapes |= {
            f"{name}.attn.qkv.weight": (3 * width, width),
            f"{name}.attn.proj.weight": (width, width),
            f"{name}.attn.proj.bias": (width,),
            f"{name}.mlp.fc1.weight": (4 * width, width),
            f"{name}.mlp.fc1.bias": (4 * width,),
            f"{name}.mlp.fc2.weight": (width, 4 * width),
            f"{name}.mlp.fc2.bias": (width,),
        }
    for index, size in ((1, width), (3, embedding_size)):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"feature.{index}.{part}"] = (size,)
    weights = {key: torch.randn(shape) * 0.05 for key, shape in shapes.items()}
    for key, value in weights.items():
        if key.endswith("running_var") or (value.ndim == 1 and key.endswith("weight")):
            value.add_(1)
    for index in (1, 3):
        weights[f"feature.{index}.num_batches_tracked"] = torch.tensor(7)
    return weights


def block_by_hand(w, name, x, heads=8):
    """One block on one image's tokens (N, C), head by head and query by query."""

    def norm(part, y):
        y = (y - y.mean(1, keepdim=True)) / (y.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        return y * w[f"{name}.{part}.weight"] + w[f"{name}.{part}.bias"]

    width = x.shape[1]
    size = width // heads
    query, key, value = (norm("norm1", x) @ w[f"{name}.attn.qkv.weight"].T).split(width, 1)
    mixed = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for token in range(len(x)):
            shares = torch.exp(key[:, part] @ query[token, part] / math.sqrt(size))
            mixed[token, part] = shares @ value[:, part] / shares.sum()
    x = x + mixed @ w[f"{name}.attn.proj.weight"].T + w[f"{name}.attn.proj.bias"]
    hidden = norm("norm2", x) @ w[f"{name}.mlp.fc1.weight"].T + w[f"{name}.mlp.fc1.bias"]
    hidden = hidden.clamp(0, 6)
    return x + hidden @ w[f"{name}.mlp.fc2.weight"].T + w[f"{name}.mlp.fc2.bias"]


def patches_by_hand(w, image):
    """Patches row by row as tokens (N, C) of one image (3, S, S)."""
    kernel = w["patch_embed.proj.weight"].flatten(1)
    corners = [(i * PATCH, j * PATCH) for i in range(3) for j in range(3)]
    cut = [image[:, i : i + PATCH, j : j + PATCH].flatten() for i, j in corners]
    return torch.stack(cut) @ kernel.T + w["patch_embed.proj.bias"] + w["pos_embed"][0]


def vit_by_hand(w, image, depth, heads=8):
    """Return tokens (N, C) and embedding (D,) of one image (3, S, S)."""
    x = patches_by_hand(w, image)
    for index in range(depth):
        x = block_by_hand(w, f"blocks.{index}", x, heads)
    x = F.layer_norm(x, x.shape[1:], w["norm.weight"], w["norm.bias"])
    y = x.flatten()
    for linear, norm in ((0, 1), (2, 3)):
        y = w[f"feature.{linear}.weight"] @ y
        y = (y - w[f"feature.{norm}.running_mean"]) / (
            w[f"feature.{norm}.running_var"] + 2e-5
        ).sqrt()
        y = y * w[f"feature.{norm}.weight"] + w[f"feature.{norm}.bias"]
    return x, y


@pytest.mark.filterwarnings("error")
def test_public_checkpoints_load_key_for_key_and_give_the_same(tmp_path):
    weights = public_checkpoint()
    path = tmp_path / "vit.pt"
    torch.save(weights, path)
    network = load_foreign(path, input=InputSpec(size=SIDE))
    assert network.architecture == "vit_t"
    assert network.backbone.state_dict().keys() == weights.keys()
    images = torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8)
    with torch.no_grad():
        outputs = network(images, needs=("embedding", "tokens", "feature_map"))
    assert outputs.feature_map.shape == (2, 256, 3, 3)
    w = {key: value.double() for key, value in weights.items()}
    for index in range(2):
        image = (images[index].permute(2, 0, 1).double() - 127.5) / 127.5
        tokens, embedding = vit_by_hand(w, image, 12)
        torch.testing.assert_close(outputs.tokens[index].double(), tokens, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            outputs.embedding[index].double(), embedding, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(("heads", "mlp_ratio"), [(4, 5), (16, 3)])
def test_heads_and_perceptron_of_other_widths(heads, mlp_ratio):
    network = tiny(heads=heads, mlp_ratio=mlp_ratio).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    images = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    with torch.no_grad():
        embeddings = network(images)
    for image, embedding in zip(images, embeddings, strict=True):
        torch.testing.assert_close(embedding, vit_by_hand(network.state_dict(), image, 6, heads)[1])


def test_a_checkpoint_with_other_norms_is_refused(tmp_path):
    weights = public_checkpoint()
    weights["norm.bn.weight"] = weights.pop("norm.weight")
    torch.save(weights, tmp_path / "vit.pt")
    with pytest.raises(FacedistillError, match=r"1 missing: norm\.weight"):
        load_foreign(tmp_path / "vit.pt", input=InputSpec(size=SIDE))


def test_of_a_size_that_is_not_known_is_no_known_family(tmp_path):
    torch.save(public_checkpoint(width=32, depth=2), tmp_path / "vit.pt")
    with pytest.raises(FacedistillError, match="no known family"):
        load_foreign(tmp_path / "vit.pt", input=InputSpec(size=SIDE))


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [
        ("vit_t", 19_137_792, 1504),
        ("vit_s", 76_023_296, 5746),
        ("vit_b", 113_833_472, 11437),
        ("vit_l", 255_684_352, 25337),
    ],
)
def test_sizes(name, parameters, millions):
    with torch.device("meta"):
        network = create_backbone(name)
    assert count_parameters(network) == parameters
    assert count_macs(network, 112) // 10**6 == millions


def test_prompts_join_their_group_only():
    network = tiny().double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    w = network.state_dict()
    image = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    prompts = [torch.randn(2, 2, 16, dtype=torch.float64) for _ in range(4)]
    with torch.no_grad():
        features, last = network.forward_prompted(image, prompts)
    for index in range(2):
        x = patches_by_hand(w, image[index])
        for group, blocks in enumerate(([0], [1, 2], [3], [4, 5])):
            x = torch.cat([x, prompts[group][index]])
            for block in blocks:
                x = block_by_hand(w, f"blocks.{block}", x)
            x, p = x[:PLACES], x[PLACES:]
        normed = F.layer_norm(torch.cat([x, p]), (16,), w["norm.weight"], w["norm.bias"])
        torch.testing.assert_close(features[index].flatten(1).T, normed[:PLACES])
        torch.testing.assert_close(last[index], normed[PLACES:])


def test_masking_leaves_the_share_out_and_puts_the_learned_token_in():
    torch.manual_seed(0)
    network = tiny(mask_ratio=0.4).train()
    images = torch.randn(5, 3, SIDE, SIDE)
    features = network.forward_features(images)
    tokens = features.flatten(2).transpose(1, 2)
    masked = (tokens == network.mask_token).all(2)
    assert masked.sum(1).tolist() == [4] * 5  # of 9 places, int(9 * 0.6) = 5 are kept
    assert len({tuple(row) for row in masked.tolist()}) > 1
    features.square().sum().backward()
    assert network.mask_token.grad.abs().sum() > 0
    tokens = network.eval().forward_features(images).flatten(2).transpose(1, 2)
    assert not (tokens == network.mask_token).all(2).any()


def test_without_masking_the_learned_token_does_not_train():
    network = tiny()
    network(torch.randn(2, 3, SIDE, SIDE)).sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None]
    assert still == ["mask_token"]
    assert not network.mask_token.requires_grad


def gradients(network: ViT, images: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(1)  # the same paths dropped and places left out
    network.train()(images).square().sum().backward()
    return [parameter.grad for parameter in network.parameters()]


def test_checkpointing_gives_the_same_gradients():
    images = torch.randn(3, 3, SIDE, SIDE)
    plain = tiny(drop_path=0.5, mask_ratio=0.3)
    sparing = tiny(drop_path=0.5, mask_ratio=0.3, checkpointing=True)
    sparing.load_state_dict(plain.state_dict())
    calls = []
    sparing.blocks[2].register_forward_pre_hook(lambda *_: calls.append(1))
    for a, b in zip(gradients(plain, images), gradients(sparing, images), strict=True):
        torch.testing.assert_close(a, b)
    assert len(calls) == 2  # once more in the backward pass
