import json
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.labels import Subset
from facedistill.distill.bank.bank import Bank, stack_keys
from facedistill.distill.bank.format import FORMAT, read_info, shard_path, write_info
from tests.distill.conftest import DIMENSION, Faces, embed, embed_bank, info_of


def keys_of(faces):
    return stack_keys([faces.key(i) for i in range(len(faces))])


def exact(faces, mirrored=False):
    images = np.stack([faces[i].image for i in range(len(faces))])
    return embed(images[:, :, ::-1] if mirrored else images).astype(np.float64)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def bank(faces, tmp_path):
    return embed_bank(embed, faces, tmp_path / "bank", info=info_of(faces), batch_size=3)


def test_round_trip_of_both_views(bank, faces):
    rows = bank.find(keys_of(faces))
    flipped = np.arange(10) % 3 == 0
    plain, mirrored = unit(exact(faces)), unit(exact(faces, mirrored=True))
    assert len(bank) == 10
    assert bank.embeddings(rows).dtype == np.float32
    np.testing.assert_allclose(bank.embeddings(rows), plain, atol=5e-4)
    np.testing.assert_allclose(bank.embeddings(rows, ~flipped & flipped), plain, atol=5e-4)
    wanted = np.where(flipped[:, None], mirrored, plain)
    np.testing.assert_allclose(bank.embeddings(rows, flipped), wanted, atol=5e-4)


@pytest.mark.parametrize(
    "read", [lambda bank, faces: bank.embeddings(np.arange(10)), lambda b, f: b.find(keys_of(f))]
)
def test_a_shard_that_is_cut_while_in_use_is_one_error(bank, faces, read):
    os.truncate(shard_path(bank.folder, 1), 100)
    with pytest.raises(FacedistillError, match=r"rows-00001\.npy: the file changed while in use"):
        read(bank, faces)


def test_cosines_lose_less_than_1e_4(tmp_path):
    faces = Faces(range(4))
    values = np.random.default_rng().normal(size=(4, 512))
    info = info_of(faces, dimension=512, views=("plain",))
    bank = embed_bank(lambda images: values[: len(images)], faces, tmp_path, info=info)
    stored = bank.embeddings(np.arange(4))
    np.testing.assert_allclose(unit(stored) @ unit(stored).T, unit(values) @ unit(values).T,
                               atol=1e-4)  # fmt: skip
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-3)


def test_norms_are_those_of_the_raw_embeddings(bank, faces):
    rows, flipped = np.arange(10), np.arange(10) % 2 == 1
    plain = np.linalg.norm(exact(faces), axis=1)
    mirrored = np.linalg.norm(exact(faces, mirrored=True), axis=1)
    np.testing.assert_allclose(bank.norms(rows), plain, rtol=1e-6)
    np.testing.assert_allclose(
        bank.norms(rows, flipped), np.where(flipped, mirrored, plain), rtol=1e-6
    )


def test_rows_come_in_the_order_asked_whatever_their_shard(bank):
    everything = bank.embeddings(np.arange(10))
    for rows in ([9, 0, 5, 5, 1], [3], [], [8, 9], [4, 4, 4]):
        asked = bank.embeddings(np.array(rows, np.int64))
        assert np.array_equal(asked, everything[rows].reshape(-1, DIMENSION))


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_that_is_not_there_is_an_index_error(bank, row):
    with pytest.raises(IndexError, match=r"0\.\.9"):
        bank.embeddings(np.array([0, row]))


def test_find_does_not_depend_on_order_and_takes_subsets(bank, faces):
    order = np.random.default_rng().permutation(10)[:7]
    assert np.array_equal(bank.find(keys_of(faces)[order]), order)
    assert len(bank.find(np.empty((0, 16), np.uint8))) == 0


def test_rows_of_its_own_data_are_known_without_reading_an_image(bank, faces, monkeypatch):
    part = Subset(faces, [8, 1, 5])
    shuffled = Faces([3, 9, 0], labels=[0, 1, 2])
    assert bank.rows_of(shuffled).tolist() == [3, 9, 0]
    assert bank.rows_of(Subset(shuffled, [2, 0])).tolist() == [0, 3]
    with pytest.raises(FacedistillError, match="knows nothing of 1 of 2"):
        bank.rows_of(Faces([3, 10], labels=[0, 1]))
    assert faces.fingerprint == bank.info.dataset
    monkeypatch.setattr(Faces, "encoded", None)
    assert bank.rows_of(faces).tolist() == list(range(10))
    assert bank.rows_of(part).tolist() == [8, 1, 5]


def test_find_distinguishes_keys_with_zero_bytes(tmp_path):
    class Named(Faces):
        def key(self, index):
            return keys[index]

        def __getitem__(self, index):
            return super().__getitem__(index)._replace(key=keys[index])

    keys = [bytes(16), bytes(15) + b"\1", b"\1" + bytes(15), b"\xff" * 16, b"\0\1" + bytes(14),
            b"\1\0\1" + bytes(13)]  # fmt: skip
    faces = Named(range(6))
    bank = embed_bank(embed, faces, tmp_path, info=info_of(faces))
    assert bank.find(keys_of(faces)).tolist() == list(range(6))
    with pytest.raises(FacedistillError, match="nothing of 1 of 1"):
        bank.find(stack_keys([b"\0\0\1" + bytes(13)]))


def test_an_image_that_is_in_twice_is_found(tmp_path):
    faces = Faces([5, 6, 5])
    bank = embed_bank(embed, faces, tmp_path, info=info_of(faces))
    assert bank.find(keys_of(faces)).tolist() == [0, 1, 0]


def test_an_image_that_is_not_there_is_named_with_the_remedy(bank, faces):
    strange = Faces([3, 77, 78])
    with pytest.raises(FacedistillError, match="knows nothing of 2 of 3 images") as raised:
        bank.find(keys_of(strange))
    assert strange.key(1).hex() in str(raised.value)
    assert "made from faces" in str(raised.value)
    assert "`facedistill prepare DATA --pack --skip --out FACES`" in str(raised.value)
    with pytest.raises(FacedistillError, match=r"embed this data first$"):
        bank.find(keys_of(Faces([77, 78])))


def test_data_sets_that_the_bank_knows_pass(bank, faces):
    bank.check_dataset(faces)
    bank.check_dataset(Faces([4, 2, 9], labels=[0, 1, 2]))
    with pytest.raises(FacedistillError, match="knows nothing of 1 of 3"):
        bank.check_dataset(Faces([4, 200, 9]))


def test_another_teacher_is_refused_by_name(bank):
    bank.check_teacher("f" * 32, "strong.onnx")
    with pytest.raises(FacedistillError, match=r"of strong.onnx \(f{12}\), not of weak \(0{12}\)"):
        bank.check_teacher("0" * 32, "weak")


def test_a_flipped_view_that_is_not_there_is_refused(faces, tmp_path):
    bank = embed_bank(embed, faces, tmp_path, info=info_of(faces, views=("plain",)))
    plain, mirrored = np.zeros(2, bool), np.array([False, True])
    assert bank.embeddings(np.arange(2), plain).shape == (2, DIMENSION)
    for ask in (bank.embeddings, bank.norms):
        with pytest.raises(FacedistillError, match="no flipped view: embed with --flip"):
            ask(np.arange(2), mirrored)


def test_prototypes_are_normalised_means_whatever_the_block(bank, faces):
    rows = np.random.default_rng().permutation(10)
    labels = faces.labels[rows]
    vectors = bank.embeddings(rows).tolist()
    expected = []
    for identity in range(3):
        total = [0.0] * DIMENSION
        for vector, label in zip(vectors, labels.tolist(), strict=True):
            if label == identity:
                total = [a + b for a, b in zip(total, vector, strict=True)]
        length = sum(x * x for x in total) ** 0.5
        expected.append([x / length for x in total])
    for block in (1, 2, 3, 7, 10, 1000):
        prototypes = bank.prototypes(rows, labels, block=block)
        assert prototypes.dtype == np.float32
        np.testing.assert_allclose(prototypes, expected, atol=1e-6)


def test_an_identity_without_image_has_no_prototype(bank):
    with pytest.raises(FacedistillError, match="identity 1 no mean"):
        bank.prototypes(np.arange(3), np.array([0, 2, 0]))


def test_an_unfinished_bank_is_refused_with_the_remedy(bank):
    shard_path(bank.folder, 1).unlink()
    with pytest.raises(FacedistillError, match=r"unfinished \(2 of 3 shards .* embed` again"):
        Bank(bank.folder)
    (bank.folder / "rows-00007.npy").write_bytes(b"")
    with pytest.raises(FacedistillError, match=r"rows-00001.npy is missing"):
        Bank(bank.folder)


@pytest.mark.parametrize("claim", [{"count": 10**18}, {"count": 10**18, "rows": 1}, {"rows": 1}])
def test_a_hostile_claim_costs_nothing(bank, claim):
    path = bank.folder / "bank.json"
    path.write_text(json.dumps(asdict(bank.info) | claim))
    with pytest.raises(FacedistillError, match="unfinished"):
        Bank(bank.folder)


def test_a_shard_of_another_bank_is_refused(bank, faces, tmp_path):
    other = embed_bank(embed, faces, tmp_path / "other", info=info_of(faces, teacher="0" * 32))
    shutil.copy(shard_path(other.folder, 1), shard_path(bank.folder, 1))
    with pytest.raises(FacedistillError, match=r"rows-00001.npy is of another bank"):
        Bank(bank.folder)


def test_a_renamed_teacher_in_bank_json_is_refused(bank):
    write_info(bank.folder, replace(bank.info, teacher="0" * 32))
    with pytest.raises(FacedistillError, match="of another bank"):
        Bank(bank.folder)


def test_swapped_shards_are_refused(bank, faces):
    a, b, spare = (bank.folder / f"{name}.npy" for name in ("rows-00000", "rows-00001", "spare"))
    a.rename(spare), b.rename(a), spare.rename(b)
    swapped = Bank(bank.folder)
    assert swapped.embeddings(np.array([8, 9])).shape == (2, DIMENSION)
    for row in range(8):
        with pytest.raises(FacedistillError, match=rf"damaged \(row {row}, plain"):
            swapped.embeddings(np.array([9, row]))


@pytest.mark.parametrize("column", ["key", "plain", "plain_norm", "plain_sum"])
def test_every_flipped_bit_of_a_row_is_found(bank, column):
    path, rows = shard_path(bank.folder, 1), np.arange(10)
    whole = np.load(path)
    for bit in range(8 * whole[column][0, 2].nbytes):
        table = whole.copy()
        cell = table[column][0, 2:3].view(np.uint8).reshape(-1)
        cell[bit // 8] ^= 1 << bit % 8
        np.save(path, table)
        damaged = Bank(bank.folder)
        assert damaged.norms(rows[rows != 6]).shape == (9,)
        for ask in (damaged.embeddings, damaged.norms):
            with pytest.raises(FacedistillError, match=r"rows-00001.npy is damaged \(row 6, plain"):
                ask(rows)
    np.save(path, whole)


@pytest.mark.parametrize("other", [1, FORMAT - 1, FORMAT + 1])
def test_banks_of_another_format_are_refused(bank, faces, other):
    write_info(bank.folder, replace(bank.info, format=other))
    for again in (Bank, lambda folder: embed_bank(embed, faces, folder, info=info_of(faces))):
        with pytest.raises(FacedistillError, match=f"of format {other}, this .* reads {FORMAT}: e"):
            again(bank.folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 40.0])
def test_a_row_that_is_no_unit_vector_is_refused(bank, value):
    path = shard_path(bank.folder, 1)
    table = np.load(path)
    table["flipped"][0, 2, :] = value
    np.save(path, table)
    damaged, rows = Bank(bank.folder), np.arange(10)
    assert damaged.embeddings(rows).shape == (10, DIMENSION)
    with pytest.raises(FacedistillError, match=r"rows-00001.npy is damaged"):
        damaged.embeddings(rows, rows == 6)


def test_a_shard_with_bytes_too_many_is_refused(bank):
    path = shard_path(bank.folder, 1)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(FacedistillError, match="1 bytes more"):
        Bank(bank.folder)


def test_a_shard_of_another_length_is_refused(bank):
    shutil.copy(shard_path(bank.folder, 0), shard_path(bank.folder, 2))
    with pytest.raises(FacedistillError, match=r"rows-00002.npy does not fit bank.json"):
        Bank(bank.folder)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_damage_is_refused_or_every_row_found_bears_its_own_key(bank, faces, tmp_path, data):
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bank.folder, folder)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "grow", "zero"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[place:]
    elif kind == "grow":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
    else:
        content[place : place + 64] = bytes(len(content[place : place + 64]))
    path.write_bytes(content)
    try:
        damaged = Bank(folder)
    except FacedistillError as error:
        refused_properly = str(folder) in str(error) and "\n" not in str(error)
        assert refused_properly, error  # noqa: PT017
        return
    for index in range(len(faces)):
        key = stack_keys([faces.key(index)])
        try:
            row = damaged.find(key)
        except FacedistillError:
            continue
        shard, place = divmod(int(row[0]), damaged.info.rows)
        stored = np.load(shard_path(folder, shard))["key"][0, place]
        assert stored.tobytes() == faces.key(index)
        try:
            embedding = damaged.embeddings(row)
        except FacedistillError:
            continue
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=0.01)
    assert read_info(folder).mark.tobytes() == bank.info.mark.tobytes()
