"""Checkpoints of other trainers, damaged and made to harm."""

import warnings
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.models.foreign.foreign_weights import load_foreign
from facedistill.models.foreign.layout import CustomaryInput, Layout, Recognised, register
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin
from tests.hostile.mutations import MEMORY, attempt, bounded, hostile, mutations, tally

SPEC = InputSpec(size=16)
assert standin.standin


@register("standin")
class StandinLayout(Layout):
    trainers = feeds = "tests"
    mark = "features.2.weight"

    def recognise(self, shapes, place):
        if len(shapes["head.weight"]) != 2:
            return None
        arguments = {"embedding_size": shapes["head.weight"][0]}
        return Recognised("standin", arguments, CustomaryInput(None, None))


@pytest.fixture(scope="module")
def weights():
    return create_backbone("standin", embedding_size=8).state_dict()


@pytest.fixture(scope="module")
def files(weights, tmp_path_factory):
    """The same weights in both formats of PyTorch, and the places of their headers."""
    folder = tmp_path_factory.mktemp("foreign")
    content = {"state_dict": weights, "epoch": 3, "lr": [0.1, None]}
    torch.save(content, folder / "zip.pt")
    torch.save(content, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    found = {}
    for path in folder.iterdir():
        whole = path.read_bytes()
        marks = [at for at in range(len(whole)) if whole[at : at + 2] == b"PK"]
        places = [at + n for at in marks for n in range(46)] + list(range(1000))
        found[path.stem] = (whole, places)
    return found


@hostile
@given(data=st.data())
def test_every_weight_is_the_one_saved_or_refused(weights, files, tmp_path_factory, data):
    # Only the ZIP format has checksums: of the other, that nothing worse happens is all there is.
    name = data.draw(st.sampled_from(["zip", "zip", "legacy"]))
    whole, places = files[name]
    damaged = data.draw(mutations(whole, places))
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(damaged.content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = attempt(
            "foreign checkpoint", path, lambda: load_foreign(path, input=SPEC), MEMORY
        )
    if network is None:
        return
    found = network.backbone.state_dict()
    assert found.keys() == weights.keys()
    if name == "zip":
        for key, tensor in weights.items():
            assert torch.equal(found[key], tensor), key
    tally["foreign checkpoint", "read right"] += 1


def refused(path, message):
    with pytest.raises(FacedistillError, match=message) as error, bounded("harm", MEMORY):
        load_foreign(path, input=SPEC)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1000


def saved(path, content):
    torch.save(content, path)
    return path


def rewritten(path, change):
    """Write an archive anew, its records changed by `change(name, bytes) -> bytes`."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, change(name, content))
    return path


def test_a_stride_of_0_does_not_ask_for_memory(weights, tmp_path):
    wide = torch.zeros(1).expand(1 << 37, 1)
    path = saved(tmp_path / "wide.pt", {**weights, "head.weight": wide})
    refused(path, r"wider than its storage of 1 values")


def test_many_names_of_one_storage_do_not_ask_for_memory(tmp_path):
    weights = create_backbone("mbf", input_size=16, scale=1, blocks=(1, 1, 1, 1)).state_dict()
    storage = torch.zeros(max(tensor.numel() for tensor in weights.values()))
    alike = {
        key: storage.as_strided(t.shape, t.contiguous().stride()) if t.ndim else t
        for key, t in weights.items()
    }
    refused(saved(tmp_path / "alike.pt", alike), "describes more weights than it holds")


def test_dictionaries_within_themselves(weights, tmp_path):
    content = {"a": {}}
    content["a"]["a"] = content
    refused(saved(tmp_path / "circle.pt", content), "no state dict")
    content["a"]["weights"] = weights
    assert load_foreign(saved(tmp_path / "circle.pt", content), input=SPEC)


def test_modules_within_themselves(weights, tmp_path):
    module = torch.nn.Module()
    module.inner = torch.nn.Module()
    module.inner.outer = module
    refused(saved(tmp_path / "circle.pt", module), "no state dict")


def test_containers_a_hundred_thousand_deep(tmp_path):
    deep = b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 100_000 + b"}" + b"s" * 100_000 + b"."
    with zipfile.ZipFile(tmp_path / "deep.pt", "w") as archive:
        archive.writestr("a/data.pkl", deep)
    refused(tmp_path / "deep.pt", "no state dict")


@pytest.mark.filterwarnings("ignore:.*beta state", "ignore:.*prototype")
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda t: t.to_sparse(), "sparse"),
        (lambda t: t.to("meta"), "meta"),
        (lambda t: torch.nested.nested_tensor([t]), "nested"),
        (lambda t: t.to(torch.complex64), "ComplexFloatStorage"),
    ],
)
def test_tensors_that_are_no_plain_ones_are_named(weights, tmp_path, make, kind):
    odd = {**weights, "head.weight": make(weights["head.weight"])}
    path = saved(tmp_path / "odd.pt", odd)
    refused(path, rf"{kind}.*head\.weight")


def test_a_deflated_bomb_is_not_inflated(weights, tmp_path):
    path = saved(tmp_path / "bomb.pt", weights)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, bytes(1 << 28) if name.endswith("/data/0") else content)
    refused(path, "compressed")


def test_a_record_of_two_sizes_does_not_ask_for_memory(weights, tmp_path):
    path = saved(tmp_path / "sizes.pt", weights)
    damaged = bytearray(path.read_bytes())
    entry = damaged.rindex(b"PK\x01\x02")
    damaged[entry + 20 : entry + 24] = b"\0\0\0\xf0"  # bytes that it takes in the file
    path.write_bytes(damaged)
    refused(path, "compressed")


def test_names_of_a_mebibyte(weights, tmp_path):
    refused(saved(tmp_path / "long.pt", {"x" * (1 << 20): torch.zeros(2)}), "no known family")
    long = {**weights, "head." + "x" * (1 << 20): torch.zeros(2)}
    refused(saved(tmp_path / "long.pt", long), "1 surplus: head.x")


def test_records_of_one_name(weights, tmp_path):
    path = saved(tmp_path / "twice.pt", weights)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data/0"))
        content = archive.read(name)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, bytes(len(content)))
    refused(path, "two of its records have one name")


def test_a_record_shorter_than_its_storage(weights, tmp_path):
    path = saved(tmp_path / "short.pt", weights)
    rewritten(path, lambda name, content: content[:-4] if "/data/" in name else content)
    refused(path, "is cut off")


OPERATIONS = {
    "bytearray of 2^60": b"\x80\x05\x96" + (1 << 60).to_bytes(8, "little") + b".",
    "text of 2^60": b"\x80\x05\x8d" + (1 << 60).to_bytes(8, "little") + b".",
    "memo of 2^31": b"\x80\x02}r\xff\xff\xff\x7f.",
    "number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "key that takes 2^60 steps to hash": b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.",
    "call of a function": b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.",
    "extension": b"\x80\x02\x82\x01.",
    "nothing": b".",
    "no end": b"\x80\x02}",
    "marks": b"\x80\x02" + b"(" * 10_000 + b"u.",
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("zipped", [True, False])
def test_operations_that_take_memory_or_time(tmp_path, name, zipped):
    path = tmp_path / "harm.pt"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", OPERATIONS[name])
    else:
        path.write_bytes(OPERATIONS[name])
    refused(path, "readable|no state dict|opens? here")


def test_a_storage_of_another_type(weights, tmp_path):
    path = saved(tmp_path / "type.pt", weights)

    def as_integers(name, content):
        at = content.find(b"LongStorage")
        return content[:at] + b"Char" + content[at + 4 :] if name.endswith("pkl") else content

    refused(rewritten(path, as_integers), "is cut off")
