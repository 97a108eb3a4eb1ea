import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

from facedistill.core.errors import FacedistillError
from facedistill.data.labels import Subset
from facedistill.distill.bank import mining
from facedistill.distill.bank import tensor_cache as kept_tensor
from facedistill.distill.bank.mining import mine_neighbours, nearest, stable_topk
from facedistill.distill.bank.writing import import_bank
from tests.distill.conftest import DIMENSION, Faces, embed, embed_bank, info_of
from tests.distill.objectives.by_hand import dot, unit


def by_hand(prototypes, count):
    """The nearest of each row by sorting all others: (cosine descending, index ascending)."""
    size = len(prototypes)
    found = []
    for m in range(size):
        others = [(-dot(prototypes[m], prototypes[n]), n) for n in range(size) if n != m]
        found.append([n for _, n in sorted(others)[:count]])
    return found


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 4), (7, 2), (100, 100), (100, 5)])
@pytest.mark.parametrize("count", [1, 4, 22])
def test_blocks_find_what_sorting_everything_finds(rows, columns, count):
    prototypes = torch.nn.functional.normalize(torch.randn(23, 6, dtype=torch.float64)).float()
    indices, cosines = nearest(prototypes, count, rows=rows, columns=columns)
    assert indices.tolist() == by_hand(prototypes.double().tolist(), count)
    expected = (prototypes @ prototypes.T).gather(1, indices)
    torch.testing.assert_close(cosines, expected, atol=1e-6, rtol=0)
    assert (cosines[:, :-1] >= cosines[:, 1:]).all()


# Rows of small whole numbers: their products are exact, so that equal means equal.
whole_rows = st.integers(2, 12).flatmap(
    lambda size: arrays(np.float32, (size, 2), elements=st.integers(-1, 1).map(float))
)


@settings(deadline=None)
@given(whole_rows, st.integers(1, 5), st.integers(1, 5), st.data())
def test_of_equals_the_lower_identity_comes_first(prototypes, rows, columns, data):
    count = data.draw(st.integers(1, len(prototypes) - 1))
    indices, _ = nearest(torch.from_numpy(prototypes), count, rows=rows, columns=columns)
    assert indices.tolist() == by_hand(prototypes.tolist(), count)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)),
           elements=st.integers(0, 3).map(float)),
    st.data(),
)  # fmt: skip
def test_stable_topk_is_the_head_of_a_stable_sort(values, data):
    count = data.draw(st.integers(1, values.shape[1]))
    top, where = stable_topk(torch.from_numpy(values), count)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    assert where.tolist() == order.tolist()
    assert top.tolist() == np.take_along_axis(values, order, 1).tolist()


def test_four_identities_by_hand():
    # Angles of 0, 10, 30 and 180 degrees.
    angles = torch.tensor([0.0, 10.0, 30.0, 180.0]).deg2rad()
    prototypes = torch.stack([angles.cos(), angles.sin()], 1)
    indices, cosines = nearest(prototypes, 2)
    assert indices.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    degrees = cosines.clamp(-1, 1).acos().rad2deg()
    expected = torch.tensor([[10.0, 30], [10, 20], [20, 30], [150, 170]])
    torch.testing.assert_close(degrees, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("count", [0, 5, 6])
def test_a_count_that_is_not_there_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} nearest of 5 rows"):
        nearest(torch.eye(5), count)


LABELS = [0, 1, 2, 3, 0, 1, 2, 4, 0, 1]  # 3 and 4 have one image


@pytest.fixture
def faces():
    return Faces(range(10), labels=LABELS)


@pytest.fixture
def bank(faces, tmp_path):
    return embed_bank(embed, faces, tmp_path / "bank", info=info_of(faces))


def prototypes_by_hand(faces, indices, labels):
    result = []
    for identity in sorted(set(labels)):
        rows = [
            unit(embed(faces[i].image[None])[0].tolist())
            for i, label in zip(indices, labels, strict=True)
            if label == identity
        ]
        result.append(unit([sum(column) for column in zip(*rows, strict=True)]))
    return result


def test_neighbours_of_a_bank_are_those_of_its_mean_embeddings(bank, faces):
    mined = mine_neighbours(bank, faces, 3)
    expected = prototypes_by_hand(faces, range(10), LABELS)
    torch.testing.assert_close(mined.prototypes, torch.tensor(expected), atol=1e-3, rtol=0)
    assert mined.indices.tolist() == by_hand(mined.prototypes.double().tolist(), 3)
    assert mined.indices.shape == mined.cosines.shape == (5, 3)


def test_fewer_others_than_asked_are_all_taken(bank, faces):
    mined = mine_neighbours(bank, faces, 100)
    assert [sorted(row) for row in mined.indices.tolist()] == [
        [n for n in range(5) if n != m] for m in range(5)
    ]


def test_identities_held_out_are_no_neighbours(bank, faces):
    mine_neighbours(bank, faces, 2)
    kept = [i for i, label in enumerate(LABELS) if label != 1]
    part = mine_neighbours(bank, Subset(faces, kept), 2)
    labels = [LABELS[i] - (LABELS[i] > 1) for i in kept]
    expected = prototypes_by_hand(faces, kept, labels)
    torch.testing.assert_close(part.prototypes, torch.tensor(expected), atol=1e-3, rtol=0)
    assert part.indices.tolist() == by_hand(part.prototypes.double().tolist(), 2)


def test_data_packed_anew_is_found_by_its_images(bank, faces):
    other = Faces([*range(5, 10), *range(5)], labels=[*LABELS[5:], *LABELS[:5]])
    assert other.fingerprint != faces.fingerprint
    first, second = (mine_neighbours(bank, each, 3) for each in (faces, other))
    assert torch.equal(first.indices, second.indices)
    torch.testing.assert_close(first.prototypes, second.prototypes)


def test_the_second_time_nothing_is_computed(bank, faces, monkeypatch):
    first = mine_neighbours(bank, faces, 3)
    monkeypatch.setattr(mining, "nearest", None)
    again = mine_neighbours(bank, faces, 3)
    for name, tensor in vars(first).items():
        assert torch.equal(tensor, getattr(again, name))
    with pytest.raises(TypeError):
        mine_neighbours(bank, faces, 2)
    faces.labels = faces.labels[::-1].copy()
    with pytest.raises(TypeError):
        mine_neighbours(bank, faces, 3)


def damage(path, kind):
    content = path.read_bytes()
    if kind == "short":
        path.write_bytes(content[:-8])
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        tensors = load_file(path)
        fingerprint = content[: content.index(b"}}")].partition(b'"fingerprint":"')[2][:32].decode()
        if kind == "range":
            tensors["indices"][0, 0] = 99
        elif kind == "self":
            tensors["indices"][2, 0] = 2
        elif kind == "length":
            tensors["prototypes"][0] *= 1.1
        elif kind == "NaN":
            tensors["prototypes"][0, 0] = torch.nan
        elif kind == "order":
            tensors["cosines"][0, 1] = 2.0
        elif kind == "shape":
            tensors["indices"] = tensors["indices"][:, :2].contiguous()
        elif kind == "type":
            tensors["cosines"] = tensors["cosines"].double()
        elif kind == "missing":
            del tensors["cosines"]
        elif kind == "other":
            fingerprint = "0" * 32
        save_file(tensors, path, metadata={"fingerprint": fingerprint})


@pytest.mark.parametrize(
    "kind",
    ["short", "empty", "range", "self", "length", "NaN", "order", "shape", "type", "missing",
     "other"],
)  # fmt: skip
def test_a_damaged_cache_is_named_and_made_anew(bank, faces, kind):
    first = mine_neighbours(bank, faces, 3)
    (path,) = bank.folder.glob("neighbours-*")
    damage(path, kind)
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged .*mined anew"):
        again = mine_neighbours(bank, faces, 3)
    assert torch.equal(first.indices, again.indices)
    assert torch.equal(mine_neighbours(bank, faces, 3).indices, first.indices)


def test_a_cache_left_alone_is_not_called_damaged(bank, faces, recwarn):
    mine_neighbours(bank, faces, 3)
    (path,) = bank.folder.glob("neighbours-*")
    damage(path, "nothing")
    mine_neighbours(bank, faces, 3)
    assert not recwarn.list


def test_a_bank_that_cannot_be_written_to_is_mined_with_a_warning(bank, faces, monkeypatch):
    def refuse(path):
        raise FacedistillError(f"cannot write {path}: read-only")

    monkeypatch.setattr(kept_tensor, "atomic_path", refuse)
    with pytest.warns(UserWarning, match="are not cached .*read-only"):
        assert len(mine_neighbours(bank, faces, 3).indices) == 5


def test_an_identity_without_image_is_named(bank, faces):
    faces.labels = np.where(faces.labels == 3, 2, faces.labels)
    with pytest.raises(FacedistillError, match="no image has label 3"):
        mine_neighbours(bank, faces, 2)


@pytest.mark.parametrize(("label", "reason"), [(-1, "no labels"), (0, "one identity")])
def test_faces_of_fewer_than_two_identities_are_refused(bank, faces, label, reason):
    faces.labels = np.full(10, label)
    with pytest.raises(FacedistillError, match=reason):
        mine_neighbours(bank, faces, 2)


def test_embeddings_that_cancel_out_are_named(tmp_path):
    faces = Faces(range(4), labels=[0, 0, 1, 1])
    plain = np.eye(4, DIMENSION, dtype=np.float32)
    plain[1] = -plain[0]
    info = info_of(faces, views=("plain",))
    bank = import_bank(plain, faces, tmp_path / "bank", info=info)
    with pytest.raises(FacedistillError, match="identity 0 no mean"):
        mine_neighbours(bank, faces, 1)
