import argparse
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facedistill.core.errors import FacedistillError
from facedistill.models.foreign.foreign_weights import load_foreign
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec
from tests.models.foreign.foreign_file import prefixed

pytestmark = pytest.mark.filterwarnings("error")

RGB32 = InputSpec(size=32)
FAMILIES = [
    ("iresnet18", {"width": 0.25}, "RGB"),
    ("iresnet34", {"width": 0.25}, "RGB"),
    ("mbf", {"scale": 1}, "RGB"),
    ("mbf", {"scale": 1, "blocks": (2, 1, 3, 1)}, "RGB"),
    ("mobilefacenet", {"width": 0.25}, "BGR"),
    ("resnet50", {"width_divisor": 8}, None),
    ("swin_nano", {}, None),
    ("vit_t", {}, "RGB"),
    ("vit_t", {"patch": 8}, "RGB"),
]


def weights_of(name="mobilefacenet", **arguments) -> dict[str, torch.Tensor]:
    defaults = {"width": 0.25} if name == "mobilefacenet" else {}
    backbone = create_backbone(
        name, **{"embedding_size": 12, "input_size": 32, **defaults, **arguments}
    )
    return backbone.state_dict()


class OddDict(OrderedDict):
    """A trainer's own kind of dictionary."""


@pytest.mark.parametrize(("name", "arguments", "color"), FAMILIES)
def test_families_are_recognised_with_all_their_arguments(tmp_path, name, arguments, color):
    weights = weights_of(name, **arguments)
    path = tmp_path / "foreign.pth"
    torch.save(weights, path)
    network = load_foreign(path, input=RGB32, architecture=name)
    assert network.architecture == name
    assert network.embedding_size == 12
    assert network.name == "foreign"
    assert not network.training
    loaded = network.backbone.state_dict()
    assert loaded.keys() == weights.keys()
    for key, tensor in weights.items():
        assert torch.equal(loaded[key], tensor), key
    rebuilt = create_backbone(name, input_size=32, **network.arguments)
    rebuilt.load_state_dict(weights)


@pytest.mark.parametrize(("name", "arguments", "color"), FAMILIES)
def test_an_input_that_is_not_stated_is_assumed_aloud_or_asked_for(
    tmp_path, name, arguments, color
):
    path = tmp_path / "foreign.pth"
    torch.save(weights_of(name, **arguments), path)
    if color is None:
        with pytest.raises(FacedistillError, match="state --color RGB or BGR"):
            load_foreign(path)
        return
    with pytest.warns(UserWarning, match=f"assuming {color}"):
        network = load_foreign(path)
    assert network.input == InputSpec(size=32, color=color)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: prefixed(w, "module."),
        lambda w: prefixed(w, "module.backbone."),
        lambda w: prefixed(w, "_orig_mod.module."),
        lambda w: prefixed(w, "net."),
        lambda w: prefixed(w, "encoder."),
        lambda w: {"state_dict": prefixed(w, "model."), "epoch": 3},
        lambda w: {"net_state_dict": w},
        lambda w: {"state_dict_ema": w, "epoch": 3},
        lambda w: {"backbone_state_dict": w, "best": np.float64(0.99)},
        lambda w: {"student": w, "teacher": w},
        lambda w: {"model": w, "args": argparse.Namespace(lr=0.1)},
        lambda w: {
            **w,
            "classifier.weight": torch.zeros(10, 12),
            "classifier.bias": torch.ones(10),
        },
        lambda w: {"model": OddDict(w)},
        lambda w: {"model": {"state_dict": w}},
        lambda w: {"state_dict_backbone": w, "state_dict_softmax_fc": {"weight": torch.ones(2)}},
        lambda w: {"state_dict": {**prefixed(w, "backbone."), "head.weight": torch.ones(2, 2)}},
        lambda w: {key: t for key, t in w.items() if not key.endswith("num_batches_tracked")},
        lambda w: {key: t.half() if t.is_floating_point() else t for key, t in w.items()},
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth.tar"])
def test_nesting_and_prefixes(tmp_path, wrap, suffix):
    weights = weights_of()
    path = tmp_path / f"foreign{suffix}"
    torch.save(wrap(weights), path)
    loaded = load_foreign(path, input=RGB32).backbone.linear.weight
    torch.testing.assert_close(loaded, weights["linear.weight"], rtol=1e-3, atol=1e-3)
    assert loaded.dtype == torch.float32


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: prefixed(w, "model.net.")])
def test_plain_safetensors(tmp_path, wrap):
    weights = weights_of()
    path = tmp_path / "model.safetensors"
    save_file(wrap(weights), path, metadata={"format": "pt"})
    network = load_foreign(path, input=RGB32)
    assert torch.equal(network.backbone.linear.weight, weights["linear.weight"])


def test_the_format_of_old_pytorch(tmp_path):
    weights = weights_of()
    path = tmp_path / "old.pth"
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=False)
    network = load_foreign(path, input=RGB32)
    for key, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, weights[key]), key


def test_of_two_networks_the_averaged_one_is_meant(tmp_path):
    weights = weights_of()
    path = tmp_path / "two.pth"
    torch.save({"state_dict": weights_of(), "state_dict_ema": weights}, path)
    with pytest.warns(UserWarning, match=r"2 networks: the averaged .* under state_dict_ema"):
        network = load_foreign(path, input=RGB32)
    assert torch.equal(network.backbone.linear.weight, weights["linear.weight"])
    torch.save({"student": weights_of(), "teacher": weights}, path)
    refused(path, r"holds 2 networks \(student, teacher\)")


def test_a_wrapped_module_loads(tmp_path):
    backbone = create_backbone("mobilefacenet", input_size=32, width=0.25)
    path = tmp_path / "parallel.pt"
    torch.save(torch.nn.DataParallel(backbone).state_dict(), path)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    network = load_foreign(path, input=RGB32)
    with torch.no_grad():
        expected = backbone.eval()(network.preprocess(images))
    torch.testing.assert_close(network(images).embedding.detach(), expected)


def refused(path, message, **options):
    with pytest.raises(FacedistillError, match=message) as error:
        load_foreign(path, **{"input": RGB32, **options})
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_not_run(tmp_path, monkeypatch, protocol, zipped):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    path = tmp_path / "evil.pt"
    content = {"state_dict": weights_of(), "extra": Bomb()}
    if zipped:
        torch.save(content, path, pickle_protocol=protocol)
        assert load_foreign(path, input=RGB32).architecture == "mobilefacenet"
    else:
        path.write_bytes(pickle.dumps(content["extra"], protocol=protocol))
        refused(path, "none that torch.save wrote")
    assert not (tmp_path / "exploded").exists()


class Wrapped(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module
        self.register_buffer("unsaved", torch.zeros(2), persistent=False)


@pytest.mark.parametrize(
    "wrap", [lambda m: m, torch.nn.DataParallel, lambda m: {"net": Wrapped(m)}]
)
def test_modules_that_were_saved_whole_are_read_without_their_class(tmp_path, wrap):
    backbone = create_backbone("mobilefacenet", input_size=32, width=0.25)
    path = tmp_path / "module.pt"
    torch.save(wrap(backbone), path)
    network = load_foreign(path, input=RGB32)
    for key, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, backbone.state_dict()[key]), key


def test_modules_of_no_family_are_named(tmp_path):
    path = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    refused(path, "no known family: its 2 weights are bias, weight")
    torch.save(torch.nn.ReLU(), path)
    refused(path, "only torch.nn.modules.activation.ReLU; pickled code is never run")


@pytest.mark.parametrize("keep", [10, 1000, -100])
def test_truncated_files(tmp_path, keep):
    path = tmp_path / "cut.pth"
    torch.save(weights_of(), path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "not a readable checkpoint")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.zeros(3)])
def test_files_without_weights(tmp_path, content):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    refused(path, "no state dict")


def test_what_a_file_without_weights_holds_is_named(tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"epoch": 3, "args": argparse.Namespace(lr=0.1)}, path)
    refused(path, r"only epoch \(int\), args \(argparse\.Namespace\)")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>Sign in", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b'{"error": "Repository not found"}', "error message"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_there_instead_of_weights_is_named(tmp_path, content, named, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    refused(path, f"holds no weights: it is .*{named}")


def test_torchscript_is_named(tmp_path):
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl"):
            archive.writestr(f"net/{name}", b"")
    refused(path, "TorchScript, a compiled program.*ONNX export")


def test_absent_file(tmp_path):
    refused(tmp_path / "none.pt", "does not exist")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", "is a pipe")


def test_unknown_family_names_some_weights(tmp_path):
    path = tmp_path / "vit.pt"
    torch.save({"patch_embed.proj.weight": torch.zeros(2, 2)}, path)
    refused(path, r"no known family.*patch_embed\.proj\.weight")


def test_wrong_architecture(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(weights_of(), path)
    refused(path, "is a mobilefacenet, not a mbf", architecture="mbf")


def test_wrong_size(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(weights_of(), path)
    refused(path, "images of side 32, not 112", input=InputSpec())


def test_misfits_are_counted_and_named(tmp_path):
    weights = weights_of()
    del weights["conv_3.model.0.conv.conv.weight"], weights["bn.bias"]
    weights["surplus"] = torch.zeros(1)
    weights["conv1.bn.bias"] = torch.zeros(17)
    path = tmp_path / "misfit.pt"
    torch.save(weights, path)
    message = r"2 missing: bn\.bias, conv_3.*1 surplus: surplus.*1 misshapen: conv1\.bn\.bias"
    refused(path, message)
    with pytest.warns(UserWarning, match=message):
        network = load_foreign(path, input=RGB32, strict=False)
    assert torch.equal(network.backbone.linear.weight, weights["linear.weight"])


def test_a_network_left_mostly_random_is_an_error_even_if_not_strict(tmp_path):
    weights = weights_of()
    landmarks = ("conv2_dw", "conv_6_dw", "linear", "conv1")
    few = {key: tensor for key, tensor in weights.items() if key.startswith(landmarks)}
    path = tmp_path / "few.pt"
    torch.save(few, path)
    refused(path, "missing", strict=False)


def test_not_finite_weights(tmp_path):
    weights = weights_of()
    weights["linear.weight"][0, 0] = float("nan")
    path = tmp_path / "nan.pt"
    torch.save(weights, path)
    refused(path, r"linear\.weight has values that are not finite")


def test_a_size_that_cannot_be(tmp_path):
    weights = weights_of() | {"conv_6_dw.conv.weight": torch.zeros(1, 1, 9999, 1)}
    torch.save(weights, tmp_path / "wide.pt")
    with pytest.raises(FacedistillError, match=r"wide\.pt: input size must be whole pixels"):
        load_foreign(tmp_path / "wide.pt")


def test_nonsense_shapes(tmp_path):
    weights = {key: torch.zeros(()) for key in weights_of()}
    path = tmp_path / "nonsense.pt"
    torch.save(weights, path)
    refused(path, "no known family")
    torch.save({key: torch.zeros(0, 0, 0, 0) for key in weights}, path)
    refused(path, "nonsense")
