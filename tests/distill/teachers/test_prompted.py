import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from facedistill.core.errors import FacedistillError
from facedistill.distill.teachers.prompted import PromptedNetwork, load_prompts, save_prompts
from facedistill.models.backbones.swin import Swin
from facedistill.models.backbones.vit import ViT
from facedistill.models.face_network import FaceNetwork
from facedistill.models.heads.landmark_head import LandmarkHead
from facedistill.runtime.input_spec import InputSpec

SIDE = 64
NEEDS = ("embedding", "plain_embedding", "tokens", "feature_map")


def swin(**changes) -> FaceNetwork:
    """Two stages: four windows of 8 x 8, shifted in its second block; then one."""
    options = {"embedding_size": 6, "input_size": SIDE, "patch": 4, "drop_path": 0.3}
    backbone = Swin((2, 1), (4, 8), (1, 2), **{**options, "checkpointing": False, **changes})
    return settled(backbone, "swin_nano")


def vit(**changes) -> FaceNetwork:
    options = {"embedding_size": 6, "input_size": SIDE, "patch": 16, "drop_path": 0.3}
    options |= {"mask_ratio": 0.3, "checkpointing": False}
    return settled(ViT(5, 16, **{**options, **changes}), "vit_t")


def settled(backbone, architecture) -> FaceNetwork:
    """A network whose weights and batch statistics all matter."""
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    network = FaceNetwork(
        backbone, architecture=architecture, arguments={}, input=InputSpec(size=SIDE)
    )
    with torch.no_grad():
        network.train()(faces(8))
    return network


def faces(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), dtype=torch.uint8)


def copy_of(network) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.mark.parametrize("make", [swin, vit])
def test_without_prompts_it_is_the_plain_network_to_the_last_bit(make):
    network, images = make(), faces()
    prompted = PromptedNetwork(network, 0).train()
    of_teacher, plain = prompted(images, NEEDS), network(images, network.gives)
    assert torch.equal(of_teacher.embedding, plain.embedding)
    assert torch.equal(of_teacher.plain_embedding, plain.embedding)
    assert torch.equal(of_teacher.tokens, plain.tokens)
    assert torch.equal(of_teacher.feature_map, plain.feature_map)
    assert not list(prompted.parameters())


@pytest.mark.parametrize("make", [swin, vit])
def test_tokens_are_the_places_and_then_the_prompts(make):
    prompted = PromptedNetwork(make(), 3)
    of_teacher = prompted(faces(2), NEEDS)
    places = of_teacher.feature_map.flatten(2).transpose(1, 2)
    assert of_teacher.tokens.shape == (2, places.shape[1] + 3, places.shape[2])
    assert torch.equal(of_teacher.tokens[:, :-3], places)
    embedding = prompted.network.backbone.forward_head(of_teacher.feature_map)
    torch.testing.assert_close(of_teacher.embedding, embedding)


@pytest.mark.parametrize("make", [swin, vit])
def test_it_gives_what_is_asked_and_no_more(make):
    prompted = PromptedNetwork(make(), 2)
    images = faces()
    assert prompted.gives == {"embedding", "plain_embedding", "tokens", "feature_map"}
    of_teacher = prompted(images)
    assert of_teacher.embedding.requires_grad
    assert {of_teacher.tokens, of_teacher.feature_map, of_teacher.plain_embedding} == {None}
    of_teacher = prompted(images, {"plain_embedding"})
    assert of_teacher.embedding is None
    assert not of_teacher.plain_embedding.requires_grad
    assert torch.equal(of_teacher.plain_embedding, prompted.network(images).embedding)
    assert not torch.equal(of_teacher.plain_embedding, prompted(images).embedding)
    with pytest.raises(FacedistillError, match="with prompts cannot give logits"):
        prompted(images, {"logits"})


@pytest.mark.parametrize("wanted", [("landmarks",), ("landmarks", "embedding")])
def test_landmarks_are_those_of_the_prompted_embedding(wanted):
    network = swin()
    network.landmark_head = LandmarkHead(network.embedding_size, 5)
    torch.nn.init.normal_(network.landmark_head.weight)
    prompted, images = PromptedNetwork(network, 2), faces()
    landmarks = prompted(images, wanted).landmarks
    prompted_embedding = prompted(images).embedding
    assert torch.equal(landmarks, network.landmark_head(prompted_embedding))
    assert not torch.allclose(landmarks, network(images, ("landmarks",)).landmarks)
    landmarks.square().sum().backward()
    assert prompted.prompts[0].grad.abs().sum() > 0


@pytest.mark.parametrize("make", [swin, vit])
def test_prompts_never_mix_images(make):
    prompted = PromptedNetwork(make(), 3)
    images = faces(5)
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        of_teacher, moved = prompted(images, NEEDS), prompted(images[order], NEEDS)
        alone = prompted(images[2:3], NEEDS)
    for name in NEEDS:
        expected = getattr(of_teacher, name)
        torch.testing.assert_close(getattr(moved, name), expected[order])
        torch.testing.assert_close(getattr(alone, name), expected[2:3])


@pytest.mark.parametrize("make", [swin, vit])
def test_training_changes_the_prompts_alone(make):
    network = make()
    before = copy_of(network)
    prompted = PromptedNetwork(network, 2).train()
    start = copy_of(prompted)
    optimizer = torch.optim.AdamW(prompted.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        of_teacher = prompted.train()(faces(), {"embedding", "tokens"})
        (of_teacher.embedding.square().mean() + of_teacher.tokens.square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not any(module.training for module in network.modules())
    for name, parameter in network.named_parameters():
        assert parameter.grad is None, name
        assert not parameter.requires_grad, name
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    for key, value in prompted.state_dict().items():
        assert not torch.isclose(value, start[key]).any(), key


@pytest.mark.parametrize("make", [swin, vit])
def test_prompts_are_all_that_trains_and_is_kept(make):
    prompted = PromptedNetwork(make(), 2)
    widths = prompted.network.backbone.prompt_widths
    assert [tuple(p.shape) for p in prompted.parameters()] == [(2, width) for width in widths]
    assert set(prompted.state_dict()) == {f"prompts.{i}" for i in range(len(widths))}
    assert all(p.requires_grad for p in prompted.parameters())
    prompted(faces())
    for prompt in torch.autograd.grad(prompted(faces()).embedding.sum(), prompted.parameters()):
        assert (prompt.abs().sum(1) > 0).all()


@pytest.mark.parametrize("make", [swin, vit])
def test_gradients_are_those_of_finite_differences(make):
    backbone = make().backbone.double().eval().requires_grad_(False)
    image = torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64)

    def run(*prompts):
        features, last = backbone.forward_prompted(image, [p.expand(2, -1, -1) for p in prompts])
        return backbone.forward_head(features), last

    prompts = [
        torch.randn(1, width, dtype=torch.float64, requires_grad=True)
        for width in backbone.prompt_widths
    ]
    assert torch.autograd.gradcheck(run, prompts, atol=1e-4)


@pytest.mark.parametrize("make", [swin, vit])
@pytest.mark.parametrize("of", ["network", "prompts"])
def test_checkpointing_gives_the_same_gradients(make, of):
    plain, sparing = make(), make(checkpointing=of == "network")
    sparing.load_state_dict(plain.state_dict())
    images, computed = faces(), {plain: 0, sparing: 0}
    for network in computed:
        backbone = network.backbone
        block = backbone.layers[0].blocks[0] if make is swin else backbone.blocks[0]
        block.register_forward_pre_hook(
            lambda *_, network=network: computed.update({network: computed[network] + 1})
        )
    first = PromptedNetwork(plain, 2)
    second = PromptedNetwork(sparing, 2, checkpointing=of == "prompts")
    second.load_state_dict(first.state_dict())
    for prompted in (first, second):
        of_teacher = prompted(images, {"embedding", "tokens"})
        (of_teacher.embedding.square().sum() + of_teacher.tokens.square().sum()).backward()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert computed == {plain: 1, sparing: 2}


def test_prompts_start_uniform_within_their_bound():
    prompted = PromptedNetwork(swin(), 1000)
    for prompt, width in zip(prompted.prompts, (4, 8), strict=True):
        bound = math.sqrt(6 / (3 * 16 + width))
        assert prompt.abs().max() <= bound
        assert prompt.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert abs(prompt.mean().item()) < 0.1 * bound


def test_the_network_moves_with_the_prompts():
    prompted = PromptedNetwork(swin(), 2)
    prompted.to(torch.float64)
    assert prompted.network.backbone.pool.dtype == torch.float64
    assert prompted(faces()).embedding.dtype == torch.float32
    prompted.to("meta")
    assert prompted.device.type == "meta"


def test_fingerprint_follows_network_and_prompts():
    network = swin()
    prompted = PromptedNetwork(network, 2)
    twin = PromptedNetwork(network, 2)
    assert prompted.fingerprint != twin.fingerprint != network.fingerprint
    twin.load_state_dict(prompted.state_dict())
    assert prompted.fingerprint == twin.fingerprint


def test_a_cnn_cannot_be_prompted():
    cnn = FaceNetwork.create("mobilefacenet", InputSpec(size=32), width=0.25)
    with pytest.raises(FacedistillError, match="mobilefacenet and cannot be prompted"):
        PromptedNetwork(cnn)


@pytest.mark.parametrize("count", [-1, 10**6])
def test_counts_out_of_range(count):
    with pytest.raises(FacedistillError, match="0 to 1024 prompts"):
        PromptedNetwork(swin(), count)


@pytest.mark.parametrize("count", [0, 3])
def test_saved_prompts_come_back(tmp_path, count):
    network, images = swin(), faces()
    prompted = PromptedNetwork(network, count)
    save_prompts(prompted, tmp_path / "prompts.safetensors")
    loaded = load_prompts(network, tmp_path / "prompts.safetensors")
    assert loaded.count == count
    assert torch.equal(loaded(images).embedding, prompted(images).embedding)


def refused(network, path, message):
    with pytest.raises(FacedistillError, match=message) as error:
        load_prompts(network, path)
    assert str(path) in str(error.value)


def test_prompts_of_another_teacher_are_refused_by_name(tmp_path):
    network = swin()
    network.name = "strong"
    path = tmp_path / "prompts.safetensors"
    save_prompts(PromptedNetwork(network, 2), path)
    other = swin()
    other.name = "weak"
    refused(other, path, "prompts of teacher strong, .* not those of weak")


def edited(path, target, tensors=None, **changes):
    """Write what is in `path` to `target`, but for some of its header and tensors."""
    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()["facedistill"])
        held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    header = {"facedistill": json.dumps({**document, **changes})}
    save_file({**held, **(tensors or {})}, target, header)


def test_hostile_files_are_refused(tmp_path):
    network = swin()
    path, bad = tmp_path / "prompts.safetensors", tmp_path / "bad.safetensors"
    save_prompts(PromptedNetwork(network, 2), path)
    refused(network, tmp_path / "none.safetensors", "does not exist")
    bad.write_bytes(path.read_bytes()[:-3])
    refused(network, bad, "is damaged")
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    bad.write_bytes(content)
    refused(network, bad, "not those written")
    save_file({"prompts.0": torch.zeros(2, 4)}, bad)
    refused(network, bad, "holds no prompts")
    edited(path, bad, format_version=9)
    refused(network, bad, "format version 9")
    for count in (3, 10**9, -1, "two", None):
        edited(path, bad, prompts=count)
        with pytest.raises(FacedistillError):
            load_prompts(network, bad)
    edited(path, bad, {"prompts.0": torch.zeros(2, 5)})
    refused(network, bad, r"prompts\.0 is F32 \(2, 5\)")
    edited(path, bad, {"more": torch.zeros(1)})
    refused(network, bad, "it has weight more, which 2 prompts has not")


def test_prompts_that_are_not_finite_are_not_written(tmp_path):
    prompted = PromptedNetwork(swin(), 2)
    with torch.no_grad():
        prompted.prompts[1][0, 0] = float("nan")
    with pytest.raises(FacedistillError, match=r"prompts\.1 has values that are not finite"):
        save_prompts(prompted, tmp_path / "prompts.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FacedistillError, match="name of prompts ends"):
        save_prompts(prompted, tmp_path / "prompts.pt")
