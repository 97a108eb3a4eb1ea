import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.heads.class_head import ClassHead, head_path, load_head, save_head
from facedistill.models.heads.margin import create_head
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers the network


@pytest.fixture
def network():
    return FaceNetwork.create("standin", InputSpec(size=16), embedding_size=5)


def made(**options):
    return ClassHead(create_head("arcface", 5, 7, **options), "a1b2", "faces")


def test_the_file_stands_beside_the_model():
    assert str(head_path("runs/teacher/best.safetensors")) == "runs/teacher/best.head.safetensors"


@pytest.mark.parametrize("sub_centres", [1, 3])
def test_what_is_read_gives_the_logits_of_what_was_written(tmp_path, network, sub_centres):
    head = made(sub_centres=sub_centres, scale=24)
    save_head(head, tmp_path / "x.head.safetensors", network)
    again = load_head(tmp_path / "x.head.safetensors", network)
    embedding = torch.randn(4, 5)
    torch.testing.assert_close(again(embedding), head(embedding), rtol=0, atol=0)
    assert (again.classes, again.identities, again.data_name) == (7, "a1b2", "faces")
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_other_identities_are_refused_by_name():
    made().check_identities("a1b2", "other", "ann")
    with pytest.raises(FacedistillError, match=r"ann has the 7 identities of faces, .* of other"):
        made().check_identities("c3d4", "other", "ann")


def test_the_head_of_another_network_is_refused(tmp_path, network):
    path = tmp_path / "x.head.safetensors"
    save_head(made(), path, network)
    other = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=5)
    with pytest.raises(FacedistillError, match="class head of another network"):
        load_head(path, other)
    wider = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=6)
    with pytest.raises(FacedistillError, match=r"weight is F32 \(7, 5\), .* F32 \(7, 6\)"):
        load_head(path, wider)


def rewritten(path, change, weight=None):
    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()["facedistill"])
        tensor = file.get_tensor("weight")
    change(document)
    text = document if isinstance(document, str) else json.dumps(document)
    save_file({"weight": tensor if weight is None else weight}, path, {"facedistill": text})


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 0},
        {"classes": 10**9},
        {"classes": "7"},
        {"classes": True},
        {"sub_centres": -1},
        {"scale": None},
        {"scale": float("inf")},
        {"scale": 12.0},
        {"people": 3},
        {"network": None},
        {"checksum": 0},
    ],
    ids=str,
)
def test_a_damaged_file_is_one_error(tmp_path, network, change):
    path = tmp_path / "x.head.safetensors"
    save_head(made(), path, network)
    rewritten(path, lambda document: document.update(change))
    with pytest.raises(FacedistillError, match=r"x\.head\.safetensors is damaged") as caught:
        load_head(path, network)
    assert "\n" not in str(caught.value)


def test_a_flipped_weight_and_no_file_at_all_are_noticed(tmp_path, network):
    path = tmp_path / "x.head.safetensors"
    save_head(made(), path, network)
    rewritten(path, lambda document: None, torch.randn(7, 5))
    with pytest.raises(FacedistillError, match="not those written"):
        load_head(path, network)
    for content in (b"", b"nonsense" * 9, b"\x02\0\0\0\0\0\0\0{}"):
        path.write_bytes(content)
        with pytest.raises(FacedistillError, match=r"is damaged|holds no class head"):
            load_head(path, network)
