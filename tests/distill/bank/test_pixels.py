"""Banks that keep a teacher's pixel features beside its embeddings."""

import json

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import (
    BankInfo,
    StoredPixels,
    fits_shard,
    rows_per_shard,
    shard_path,
)
from facedistill.distill.bank.making import embed_teacher
from facedistill.distill.objectives.cross_architecture.pixel_features import find_pixel_features
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.distill.conftest import DIMENSION, Faces, embed, embed_bank, info_of
from tests.distill.teachers.by_hand import batch_of

NETWORKS = {"swin_nano": "tokens", "standin": "feature_map"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A Transformer's and a CNN's bank, and what they were made with."""
    from tests.engine import standin  # noqa: F401 - registers the CNN

    banks = {}
    for name in NETWORKS:
        torch.manual_seed(1)
        faces = Faces(range(10), size=32)
        network = FaceNetwork.create(name, InputSpec(size=32), embedding_size=DIMENSION)
        folder = tmp_path_factory.mktemp(name)
        banks[name] = faces, network, embed_teacher(network, faces, folder, tokens=True)
    return banks


@pytest.mark.parametrize("name", NETWORKS)
def test_pixels_are_those_of_both_views(made, name):
    faces, network, bank = made[name]
    layout = find_pixel_features(network)
    wanted = StoredPixels(NETWORKS[name], layout.channels, layout.side)
    assert bank.info.pixels == wanted
    images = torch.from_numpy(np.stack([faces[i].image for i in range(10)]))
    rows, flipped = np.arange(10), np.arange(10) % 3 == 0
    seen = torch.where(torch.from_numpy(flipped)[:, None, None, None], images.flip(2), images)
    with torch.inference_mode():
        exact = layout.rows(network(seen, {layout.output})).numpy()
    stored = bank.pixels(rows, flipped)
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored, exact, rtol=1e-3, atol=1e-4)
    assert not np.allclose(bank.pixels(rows), exact, atol=1e-2)
    bank.verify()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("view", ["same", "clean"])
def test_a_bank_teaches_what_the_network_teaches(made, name, view):
    faces, network, bank = made[name]
    cached, online = BankTeacher(bank, view), NetworkTeacher(network, view)
    needs = {"embedding", NETWORKS[name], "feature_map"}
    cached.check(needs)
    assert cached.pixels == find_pixel_features(network).__class__(
        NETWORKS[name], bank.info.pixels.channels, bank.info.pixels.side
    )
    assert cached.channels == online.channels
    batch = batch_of(faces, clean=True)
    one, other = cached(batch, needs), online(batch, needs)
    for need in needs:
        torch.testing.assert_close(getattr(one, need), getattr(other, need), rtol=2e-3, atol=2e-3)
    assert getattr(cached(batch, {"embedding"}), NETWORKS[name]) is None


def test_damaged_pixels_are_named(made, tmp_path):
    faces, network, _ = made["swin_nano"]
    bank = embed_teacher(network, faces, tmp_path, flip=False, tokens=True)
    path = shard_path(tmp_path, 0)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(FacedistillError, match=r"rows-00000\.npy is damaged \(row 9, plain: not"):
        Bank(tmp_path).pixels(np.arange(10))
    with pytest.raises(FacedistillError, match=r"is damaged \(row 9"):
        Bank(tmp_path).verify()
    assert Bank(tmp_path).embeddings(np.arange(10)).shape == (10, DIMENSION)
    with pytest.raises(FacedistillError, match="has no flipped view"):
        bank.pixels(np.arange(2), np.array([True, False]))


def test_a_bank_goes_on_with_pixels_or_without_as_it_began(made, tmp_path):
    faces, network, _ = made["swin_nano"]
    embed_teacher(network, faces, tmp_path, tokens=True)
    with pytest.raises(FacedistillError, match="already holds another bank"):
        embed_teacher(network, faces, tmp_path)


def test_a_bank_without_pixels_does_not_speak_of_them(faces, tmp_path):
    bank = embed_bank(embed, faces, tmp_path, info=info_of(faces))
    assert "pixels" not in json.loads((tmp_path / "bank.json").read_text())
    assert "pixels" not in bank.info.essence
    assert BankTeacher(bank).pixels is None
    with pytest.raises(FacedistillError, match="keeps no pixel features: embed again, with --tok"):
        bank.pixels(np.arange(2))


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ({"output": "logits", "channels": 2, "side": 2}, "pixels are 'logits'"),
        ({"output": "tokens", "channels": 0, "side": 2}, "channels is 0"),
        ({"output": "tokens", "channels": 2, "side": "2"}, "side is '2'"),
        ({"output": "tokens", "channels": 60000, "side": 60000}, "would be over 2 GB"),
        ({"output": "tokens"}, "missing"),
        ([], "must be a mapping"),
    ],
)
def test_a_layout_that_cannot_be_is_damage(faces, tmp_path, pixels, reason):
    embed_bank(embed, faces, tmp_path, info=info_of(faces))
    path = tmp_path / "bank.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pixels": pixels}))
    with pytest.raises(FacedistillError, match=f"is damaged .*{reason}"):
        Bank(tmp_path)


def test_what_fp16_cannot_hold_or_no_network_gives_is_refused(made, tmp_path, monkeypatch):
    faces, network, _ = made["standin"]

    class Embeddings:
        name, fingerprint, embedding_size, gives = "flat", "f" * 32, 4, frozenset({"embedding"})
        input = InputSpec(size=32)

    with pytest.raises(FacedistillError, match="--tokens: flat gives embeddings only: leave it"):
        embed_teacher(Embeddings(), faces, tmp_path / "flat", tokens=True)
    forward = FaceNetwork.forward

    def large(network, images, needs=("embedding",)):
        outputs = forward(network, images, needs)
        if outputs.feature_map is not None:
            outputs.feature_map = outputs.feature_map + 1e6
        return outputs

    monkeypatch.setattr(FaceNetwork, "forward", large)
    with pytest.raises(FacedistillError, match=r"pixel feature of sample 0 .* beyond 65,504"):
        embed_teacher(network, faces, tmp_path / "large", tokens=True)


def test_shards_of_long_rows_have_fewer():
    assert rows_per_shard(100_000, 200_000) == 1342
    assert rows_per_shard(100, 200_000) == 1342
    assert rows_per_shard(10_000_000, 200_000) == 39_063
    info = BankInfo(
        "t", "t", "d", "d", 10_000_000, 512, rows=39_063, pixels=StoredPixels("tokens", 1024, 7)
    )
    assert not fits_shard(info)
