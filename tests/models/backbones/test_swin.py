import math

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.export.export import export_network
from facedistill.models.backbones.swin import PatchMerging, Swin, SwinBlock, stage_sides
from facedistill.models.backbones.window_attention import window_side
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.foreign.foreign_weights import load_foreign
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec
from tests.models.backbones import swin_by_hand
from tests.models.backbones.network_by_hand import randomise


def tiny(**changes) -> Swin:
    options = {"embedding_size": 6, "input_size": 32, "patch": 2, "drop_path": 0.0}
    return Swin((2, 1), (4, 8), (2, 2), **{**options, "checkpointing": False, **changes})


def random_block(side: int, shifted: bool) -> SwinBlock:
    block = SwinBlock(4, 2, side, shifted, 0.0).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.7)
    return block


@pytest.mark.parametrize("prompts", [0, 3])
@pytest.mark.parametrize(("side", "shifted"), [(14, False), (14, True), (8, True), (7, False)])
def test_a_block_equals_the_block_place_by_place(side, shifted, prompts):
    block = random_block(side, shifted)
    window = window_side(side)
    shift = window // 2 if shifted and window < side else 0
    x = torch.randn(2, side, side, 4, dtype=torch.float64)
    p = torch.randn(2, prompts, 4, dtype=torch.float64)
    with torch.no_grad():
        y, q = block(x, p if prompts else None)
    for image in range(2):
        wanted, wanted_prompts = swin_by_hand.block(
            swin_by_hand.weights_of(block), x[image].numpy(), p[image].numpy(), 2, window, shift
        )
        np.testing.assert_allclose(y[image], wanted, atol=1e-10)
        if prompts:
            np.testing.assert_allclose(q[image], wanted_prompts, atol=1e-10)
    assert (q is None) == (prompts == 0)


def test_a_flat_head_sees_place_after_place():
    network = tiny(flat=True).double().eval()
    randomise(network)
    w = network.state_dict()
    features = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        embeddings = network.forward_head(features)
    for image, embedding in zip(features, embeddings, strict=True):
        kernel = w["linear.weight"].reshape(6, 8, 8, 8)
        y = torch.einsum("dijc,cij->d", kernel, image) + w["linear.bias"]
        y = (y - w["bn.running_mean"]) / (w["bn.running_var"] + 1e-5).sqrt()
        torch.testing.assert_close(embedding, y * w["bn.weight"] + w["bn.bias"])


def test_prompts_are_fresh_in_every_stage():
    network = tiny(input_size=56, patch=4).double().eval()  # 14 x 14, then 7 x 7
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    images = torch.randn(1, 3, 56, 56, dtype=torch.float64)
    prompts = [torch.randn(1, 2, width, dtype=torch.float64) for width in (4, 8)]
    with torch.no_grad():
        features, last = network.forward_prompted(images, prompts)
        x = network.patch_embed(images)
        for stage, fresh, side in zip(network.layers, prompts, (14, 7), strict=True):
            y, p = x[0].numpy(), fresh[0].numpy()
            for index, block in enumerate(stage.blocks):
                w = swin_by_hand.weights_of(block)
                shift = 3 if index == 1 and side > 7 else 0
                y, p = swin_by_hand.block(w, y, p, 2, 7, shift)
            x = torch.from_numpy(y)[None]
            x = x if stage.downsample is None else stage.downsample(x)
        torch.testing.assert_close(features, network.norm(x).permute(0, 3, 1, 2))
        torch.testing.assert_close(last, network.norm(torch.from_numpy(p)[None]))


def test_merging_joins_squares_in_the_order_of_public_checkpoints():
    merging = PatchMerging(3, 5, 2)
    x = torch.randn(2, 4, 4, 3)
    corners = [x[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
    joined = torch.cat(corners, dim=-1)
    torch.testing.assert_close(merging(x), merging.reduction(merging.norm(joined)))


def test_merging_that_joins_nothing_only_widens():
    merging = PatchMerging(3, 5, 1)
    x = torch.randn(2, 7, 7, 3)
    torch.testing.assert_close(merging(x), merging.reduction(merging.norm(x)))


@pytest.mark.parametrize(
    ("side", "sides"),
    [(56, [56, 28, 14, 7]), (28, [28, 14, 7, 7]), (36, [36, 18, 9, 9]), (8, [8, 4, 4, 4])],
)
def test_maps_halve_down_to_the_window(side, sides):
    assert stage_sides(side, 4) == sides


def test_nano_ends_in_seven_by_seven():
    network = create_backbone("swin_nano", embedding_size=20).eval()
    with torch.no_grad():
        features = network.forward_features(torch.randn(2, 3, 112, 112))
    assert features.shape == (2, 128, 7, 7)
    assert network.forward_head(features).shape == (2, 20)


def test_head_weighs_places_then_maps_and_normalises():
    network = tiny().eval()
    w = randomise(network)
    features = torch.randn(3, 8, 8, 8)
    pooled = torch.zeros(3, 8)
    for row in range(8):
        for column in range(8):
            pooled += features[:, :, row, column] * w["pool"][:, 8 * row + column]
    wanted = pooled @ w["linear.weight"].T
    wanted = (wanted - w["bn.running_mean"]) / (w["bn.running_var"] + 1e-5).sqrt()
    wanted = wanted * w["bn.weight"] + w["bn.bias"]
    with torch.no_grad():
        torch.testing.assert_close(network.forward_head(features), wanted, rtol=1e-4, atol=1e-4)


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch():
    network = tiny().double().eval()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        torch.testing.assert_close(network(images)[order], network(images[order]))
        torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


def gradients(network: Swin, images: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(1)  # the same paths dropped
    network.zero_grad()
    network.train()(images).square().sum().backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def test_checkpointing_gives_the_same_gradients():
    images = torch.randn(3, 3, 32, 32)
    plain = tiny(drop_path=0.5)
    sparing = tiny(drop_path=0.5, checkpointing=True)
    sparing.load_state_dict(plain.state_dict())
    calls = []
    sparing.layers[0].blocks[1].register_forward_pre_hook(lambda *_: calls.append(1))
    for a, b in zip(gradients(plain, images), gradients(sparing, images), strict=True):
        torch.testing.assert_close(a, b)
    assert len(calls) == 2  # once more in the backward pass
    with torch.no_grad():
        sparing(images)
    assert len(calls) == 3


def test_shifted_windows_of_opposite_edges_stay_apart():
    block = random_block(14, shifted=True)
    x = torch.randn(1, 14, 14, 4, dtype=torch.float64, requires_grad=True)
    y, _ = block(x)
    y[0, 0, 0].sum().backward()
    reached = x.grad[0].abs().sum(2) > 0
    assert reached[:3, :3].all()
    assert reached.sum() == 9
    assert math.isclose(float(x.grad[0, 3:].abs().sum()), 0)


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [
        ("swin_nano", 1_038_630, 91),
        ("swin_tiny", 27_947_770, 4479),
        ("swin_small", 49_265_674, 8730),
        ("swin_base", 87_314_104, 15416),
    ],
)
def test_sizes(name, parameters, millions):
    with torch.device("meta"):
        network = create_backbone(name)
    assert count_parameters(network) == parameters
    assert round(count_macs(network, 112) / 1e6) == millions
    assert network.pool.shape[1] == 49


def faces(count: int, side: int) -> torch.Tensor:
    return torch.randint(256, (count, side, side, 3), dtype=torch.uint8)


def test_model_file_gives_the_same_network_back(tmp_path):
    network = FaceNetwork.create("swin_nano", InputSpec(size=32), embedding_size=8)
    network.train()(faces(6, 32))
    save_model(network.eval(), tmp_path / "swin.safetensors")
    loaded = load_model(tmp_path / "swin.safetensors")
    images = faces(2, 32)
    with torch.no_grad():
        expected, outputs = (n(images, ("embedding", "tokens")) for n in (network, loaded))
    assert torch.equal(outputs.embedding, expected.embedding)
    assert torch.equal(outputs.tokens, expected.tokens)


def test_onnx_file_gives_the_same_embedding(tmp_path):
    backbone = Swin(
        (2, 1),
        (4, 8),
        (2, 2),
        embedding_size=6,
        input_size=112,
        patch=4,
        drop_path=0.0,
        checkpointing=False,
    )
    network = FaceNetwork(backbone, architecture="swin_nano", arguments={}, input=InputSpec())
    with torch.no_grad():
        for _ in range(3):
            network.train()(faces(8, 112))
    assert backbone.layers[0].blocks[1].shift == 3
    images = faces(3, 112)
    path = export_network(network, tmp_path / "swin.onnx", faces=images.numpy()).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        embedding = session.run(None, {"image": images[:count].numpy()})[0]
        with torch.no_grad():
            expected = network.eval()(images[:count]).embedding.numpy()
        np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)


def public_checkpoint() -> dict[str, torch.Tensor]:
    """Swin-T's names and shapes as Microsoft's file has them, with indices and masks."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (96, 3, 4, 4),
        "patch_embed.proj.bias": (96,),
        **layer_norm("patch_embed.norm", 96),
    }
    for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
        width = 96 << stage
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            shapes |= layer_norm(f"{name}.norm1", width) | layer_norm(f"{name}.norm2", width)
            shapes |= {
                f"{name}.attn.relative_position_bias_table": (169, heads),
                f"{name}.attn.qkv.weight": (3 * width, width),
                f"{name}.attn.qkv.bias": (3 * width,),
                f"{name}.attn.proj.weight": (width, width),
                f"{name}.attn.proj.bias": (width,),
                f"{name}.mlp.fc1.weight": (4 * width, width),
                f"{name}.mlp.fc1.bias": (4 * width,),
                f"{name}.mlp.fc2.weight": (width, 4 * width),
                f"{name}.mlp.fc2.bias": (width,),
            }
        if stage < 3:
            shapes[f"layers.{stage}.downsample.reduction.weight"] = (2 * width, 4 * width)
            shapes |= layer_norm(f"layers.{stage}.downsample.norm", 4 * width)
    shapes |= layer_norm("norm", 768)
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    weights["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49).long()
    weights["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    return weights


def layer_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def as_timm_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for key, value in weights.items():
        parts = key.split(".")
        if parts[2:3] == ["downsample"]:
            parts[1] = str(int(parts[1]) + 1)
        renamed[".".join(parts)] = value
    return renamed


def test_classifiers_of_objects_load_but_for_the_embedding(tmp_path):
    weights = public_checkpoint()
    path, spec = tmp_path / "swin.pth", InputSpec(size=224)
    torch.save({"model": weights}, path)
    with pytest.raises(FacedistillError, match=r"swin_tiny: 6 missing: bn\.bias[^;]*$"):
        load_foreign(path, input=spec)
    torch.save({"model": as_timm_names(weights)}, path)
    with pytest.warns(UserWarning, match=r"swin_tiny: 6 missing: bn\.bias[^;]*; the rest"):
        network = load_foreign(path, input=spec, strict=False)
    assert network.arguments == {"embedding_size": 512, "patch": 4}
    loaded = network.backbone.state_dict()
    for key in weights.keys() & loaded.keys():
        assert torch.equal(loaded[key], weights[key]), key
