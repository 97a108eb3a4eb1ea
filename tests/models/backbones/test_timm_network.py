"""Most tests here run on a stand-in for timm with its calling conventions; the last on timm itself.

The stand-in shows that this project keeps to those conventions as they are understood here. That
timm keeps to them too, only the tests on timm itself can show, where it can be imported.
"""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.models.cost import count_macs
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.foreign.foreign_weights import load_foreign
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec

SIDE = 32
IMAGES = torch.randn(3, 3, SIDE, SIDE)


class Head(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, pooled):
        return self.fc(self.norm(pooled))


class Convolutional(nn.Module):
    """Gives (B, C, H, W), as EdgeNeXt does, and has its names of first and last layers."""

    def __init__(self, num_classes, stem=32, last=192):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 8, 8))
        self.stages = nn.ModuleList([nn.Linear(stem, last)])
        self.head = Head(last, num_classes)

    def forward_features(self, x):
        return self.stages[0](self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def forward_head(self, features):
        return self.head(features.mean((2, 3)))


class ChannelsLast(nn.Module):
    """Gives (B, H, W, C), and wants to know the input's size, as Swin does."""

    output_fmt = "NHWC"

    def __init__(self, num_classes, img_size):
        super().__init__()
        if img_size % 8:
            raise AssertionError(f"img_size {img_size} is not a multiple of 8")
        self.stem = nn.Conv2d(3, 6, 8, 8)
        self.places = nn.Parameter(torch.randn(img_size // 8, img_size // 8, 6))
        self.register_buffer("index", torch.arange(6), persistent=False)
        self.head = Head(6, num_classes)

    def forward_features(self, x):
        return (self.stem(x).permute(0, 2, 3, 1) + self.places)[..., self.index]

    def forward_head(self, features):
        return self.head(features.mean((1, 2)))


class Tokens(nn.Module):
    """Gives (B, 1 + N, C): a class token and then the patches, as ViT does."""

    num_prefix_tokens = 1

    def __init__(self, num_classes, img_size):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, num_classes)

    def forward_features(self, x):
        patches = self.stem(x).flatten(2).transpose(1, 2)
        return self.norm(torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1))

    def reset_classifier(self, num_classes):
        assert num_classes == 0
        self.head = nn.Identity()


class Flat(nn.Module):
    """Gives (B, C): no network for faces."""

    def __init__(self, num_classes):
        super().__init__()

    def forward_features(self, x):
        return x.mean((2, 3))


MODELS = {
    "edgenext_x_small": Convolutional,
    "standin_swin": ChannelsLast,
    "standin_vit": Tokens,
    "standin_flat": Flat,
}


@pytest.fixture
def standin(monkeypatch):
    def create_model(name, pretrained, **arguments):
        assert pretrained is False
        return MODELS[name](**arguments)

    module = ModuleType("timm", "A stand-in for timm.")
    module.list_models = lambda: sorted(MODELS)
    module.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", module)


@pytest.fixture
def no_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)


@pytest.mark.usefixtures("no_timm")
def test_without_timm_the_remedy_is_named(tmp_path):
    with pytest.raises(FacedistillError) as error:
        create_backbone("timm:edgenext_small")
    assert str(error.value).startswith("architecture timm:edgenext_small needs timm")
    assert str(error.value).endswith("pip install 'facedistill[timm]'")
    weights = {
        "model.stem.0.weight": torch.zeros(48, 3, 4, 4),
        "model.head.norm.weight": torch.zeros(304),
        "model.head.fc.weight": torch.zeros(512, 304),
    }
    torch.save(weights, tmp_path / "edgeface.pt")
    with pytest.raises(FacedistillError, match=r"edgeface\.pt: .*pip install"):
        load_foreign(tmp_path / "edgeface.pt", input=InputSpec())


def test_a_timm_that_breaks_on_import_names_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FacedistillError, match=r"nms does not exist.*pip install"):
        create_backbone("timm:edgenext_small")


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(
    ("name", "channels"), [("edgenext_x_small", 192), ("standin_swin", 6), ("standin_vit", 6)]
)
def test_features_are_a_map_and_the_head_gives_the_embedding(name, channels):
    network = create_backbone(f"timm:{name}", embedding_size=5, input_size=SIDE).eval()
    with torch.no_grad():
        features = network.forward_features(IMAGES)
        embedding = network(IMAGES)
    assert features.shape == (3, channels, 4, 4)
    assert network.feature_channels == channels
    assert embedding.shape == (3, 5)
    patches = network.model.stem(IMAGES)
    if name == "standin_vit":
        patches = network.model.norm(patches.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    if name == "standin_swin":
        patches = patches + network.model.places.permute(2, 0, 1)
    if name != "edgenext_x_small":
        torch.testing.assert_close(features, patches)
    if name == "standin_vit":
        torch.testing.assert_close(embedding, network.head(patches.mean((2, 3))))
    else:
        torch.testing.assert_close(embedding, network.model.head(features.mean((2, 3))))


@pytest.mark.usefixtures("standin")
def test_only_networks_with_tokens_promise_tokens():
    gives = {
        name: FaceNetwork.create(f"timm:{name}", InputSpec(size=SIDE)).gives
        for name in ("edgenext_x_small", "standin_swin", "standin_vit")
    }
    assert [name for name, given in gives.items() if "tokens" in given] == ["standin_vit"]
    network = FaceNetwork.create("timm:standin_vit", InputSpec(size=SIDE)).eval()
    outputs = network(torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8), {"tokens"})
    assert outputs.tokens.shape == (2, 16, 6)


@pytest.mark.usefixtures("standin")
def test_the_last_norm_is_what_timm_calls_so():
    vit = create_backbone("timm:standin_vit", input_size=SIDE)
    assert vit.last_norm is vit.model.norm
    assert create_backbone("timm:edgenext_x_small", input_size=SIDE).last_norm is None


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize("name", ["edgenext_x_small", "standin_swin", "standin_vit"])
def test_model_files_and_costs(tmp_path, name):
    network = FaceNetwork.create(f"timm:{name}", InputSpec(size=SIDE), embedding_size=5).eval()
    save_model(network, tmp_path / "timm.safetensors")
    loaded = load_model(tmp_path / "timm.safetensors")
    images = torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(images).embedding, network(images).embedding)
    assert count_macs(network.backbone, SIDE) > 0


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize("rank_ratio", [None, 0.6])
def test_edgeface_checkpoints_are_recognised(tmp_path, rank_ratio):
    arguments = {"embedding_size": 320, "rank_ratio": rank_ratio}
    backbone = create_backbone("timm:edgenext_x_small", input_size=112, **arguments)
    weights = backbone.state_dict()
    assert all(key.startswith("model.") for key in weights)
    if rank_ratio:
        assert weights["model.head.fc.linear1.weight"].shape == (115, 192)  # 0.6 x 192 = 115.2
        assert weights["model.stages.0.linear2.weight"].shape == (192, 19)  # 0.6 x 32 = 19.2
    torch.save(weights, tmp_path / "edgeface_xs.pt")
    with pytest.warns(UserWarning, match="assuming RGB"):
        network = load_foreign(tmp_path / "edgeface_xs.pt")
    assert network.architecture == "timm:edgenext_x_small"
    assert network.arguments == arguments
    assert network.input == InputSpec()
    for key, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, weights[key]), key


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("edgenext_smal", {}, "no timm model 'edgenext_smal'; .*edgenext_x_small"),
        ("hf-hub:someone/network", {}, "no timm model"),
        ("standin_flat", {}, "neither a map nor tokens"),
        ("edgenext_x_small", {"input_size": 100}, "argument input_size=100"),
        ("edgenext_x_small", {"rank_ratio": 0}, "argument rank_ratio=0"),
        ("edgenext_x_small", {"rank": 1}, "has no argument 'rank'.*rank_ratio"),
    ],
)
def test_mistakes_are_named(name, arguments, message):
    with pytest.raises(FacedistillError, match=message):
        create_backbone(f"timm:{name}", **arguments)


@pytest.mark.usefixtures("standin")
def test_what_timm_refuses_is_passed_on(monkeypatch):
    def refuse(num_classes, img_size):
        raise AssertionError("of the wrong size\nin two lines")

    monkeypatch.setitem(MODELS, "standin_swin", refuse)
    with pytest.raises(FacedistillError, match=r"images of side 112: of the wrong size$"):
        create_backbone("timm:standin_swin")


@pytest.mark.parametrize(
    "name", ["edgenext_xx_small", "swin_tiny_patch4_window7_224", "deit_tiny_patch16_224"]
)
def test_timm_itself(name):
    try:
        import timm  # noqa: F401
    except Exception as error:  # whatever a torchvision of another torch breaks with
        pytest.skip(f"timm cannot be imported here: {error}")
    network = create_backbone(f"timm:{name}", embedding_size=16).eval()
    with torch.no_grad():
        features = network.forward_features(torch.randn(2, 3, 112, 112))
        assert network.forward_head(features).shape == (2, 16)
    assert features.shape[1] == network.feature_channels
    assert ("tokens" in network.gives) == name.startswith("deit")
    assert isinstance(network.last_norm, nn.LayerNorm) == (not name.startswith("edgenext"))
