import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs import bin_pairs
from facedistill.data.pairs.bin_pairs import read_bin, write_bin
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.runtime.image_file import decode_image
from tests.data.pairs.listed_images import Listed, encoded_image


def write(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def as_array(data, shape=(-1,)):
    return np.frombuffer(data, np.uint8).reshape(shape)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "convert",
    [bytes, as_array, lambda data: as_array(data, (-1, 1)), lambda data: as_array(data, (1, -1))],
)
@pytest.mark.parametrize("same", [[True, False], (np.True_, np.False_), np.array([True, False])])
def test_bin_of_any_writer(tmp_path, protocol, convert, same):
    images = [encoded_image(seed) for seed in range(4)]
    path = write(tmp_path / "set.bin", ([convert(image) for image in images], same), protocol)
    pairs = open_pairs(path)
    assert pairs.name == "set.bin"
    assert len(pairs) == 4
    np.testing.assert_array_equal(pairs.pairs, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(pairs.same, [True, False])
    assert pairs.same.dtype == np.bool_
    assert pairs.identities is None
    assert pairs.folds is None
    for index, image in enumerate(images):
        np.testing.assert_array_equal(pairs.image(index), decode_image(image, "here"))


def test_images_with_equal_bytes_become_one(tmp_path):
    a, b, c = (encoded_image(seed) for seed in range(3))
    path = write(tmp_path / "set.bin", ([a, b, as_array(b), c, c, a], [True, False, False]))
    pairs = read_bin(path)
    assert len(pairs) == 3
    np.testing.assert_array_equal(pairs.pairs, [[0, 1], [1, 2], [2, 0]])


def test_repeated_pairs_keep_their_own_images_and_are_counted(tmp_path):
    a, b, c = (encoded_image(seed) for seed in range(3))
    path = write(tmp_path / "set.bin", ([a, b, b, a, c, c, a, c], [True, True, False, False]))
    with pytest.warns(UserWarning, match="2 of 4 pairs repeat"):
        pairs = read_bin(path)
    np.testing.assert_array_equal(pairs.pairs, [[0, 1], [2, 3], [4, 5], [0, 4]])
    listed = [a, b, b, a, c, c, a, c]
    for index, image in zip(pairs.pairs.ravel(), listed, strict=True):
        assert pairs.faces.encoded(int(index)) == image


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (([b"a", b"b", b"c"], [True]), "3 images, an odd number"),
        (([b"a", b"b"], [True, False]), "2 images for 2 labels"),
        (([b"a", b"b"], [2]), "label of pair 0 is a int that is neither"),
        (([b"a", b"b"], [float("nan")]), "label of pair 0 is a float"),
        (([b"a", b"b", b"c", b"d"], [True, None]), "label of pair 1 is a NoneType"),
        (([b"a", b""], [True]), "image 1 has no bytes"),
        (([b"a", np.empty(0, np.uint8)], [True]), "image 1 has no bytes"),
        (([b"a", "b"], [True]), "image 1 is a str"),
        (
            ([b"a", np.zeros((4, 4, 3), np.uint8)], [True]),
            r"image 1 is an array of uint8 \(4, 4, 3\)",
        ),
        (([b"a", np.zeros(4, bool)], [True]), "image 1 is an array of bool"),
        (([], []), "holds no pairs"),
        ([b"a", b"b"], "must be lists"),
        ([[b"a"]], "no set of pairs"),
        (7, "no set of pairs"),
        (({"a": 1}, [True]), "refused"),
        (([b"a", np.array([b"a", None])], [True]), r"numpy.dtype\('O8'\)"),
    ],
)
def test_wrong_bins_are_refused(tmp_path, content, message):
    path = write(tmp_path / "set.bin", content)
    with pytest.raises(FacedistillError, match=message) as caught:
        read_bin(path)
    assert "set.bin" in str(caught.value)


def test_bin_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(FacedistillError, match="cannot read"):
        read_bin(tmp_path / "none.bin")
    (tmp_path / "empty.bin").touch()
    with pytest.raises(FacedistillError, match=r"empty\.bin is empty"):
        read_bin(tmp_path / "empty.bin")


def test_every_truncation_is_refused(tmp_path):
    data = pickle.dumps(([b"one", b"two"], [True]), 2)
    path = tmp_path / "set.bin"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FacedistillError, match=r"set\.bin"):
            read_bin(path)


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_flipped_bits_give_pairs_or_an_error(tmp_path_factory, place, bit):
    data = bytearray(pickle.dumps(([b"one", as_array(b"two"), b"3", b"4"], [True, False]), 3))
    data[place % len(data)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.bin"
    path.write_bytes(data)
    try:
        pairs = read_bin(path)
    except FacedistillError:
        return
    assert pairs.pairs.shape == (2, 2)
    assert all(pairs.faces.encoded(index) for index in range(len(pairs)))


def test_damaged_image_is_named_by_file_and_entry(tmp_path):
    a = encoded_image(0)
    pairs = read_bin(write(tmp_path / "set.bin", ([a, a[:50], encoded_image(1), a], [True, False])))
    with pytest.raises(FacedistillError, match=r"set\.bin image 1"):
        pairs.image(1)
    assert pairs.image(2).shape == (8, 8, 3)


def test_written_bin_reads_back_and_holds_plain_lists(tmp_path):
    original = PairSet.from_dataset(Listed(np.repeat(np.arange(6), 3)), 20, 0)
    path = tmp_path / "written.bin"
    write_bin(original, path)
    with path.open("rb") as file:
        images, same = pickle.load(file)  # as InsightFace does
    assert all(type(image) is bytes for image in images)
    assert all(type(flag) is bool for flag in same)
    again = read_bin(path)
    assert len(again) == len(original)
    np.testing.assert_array_equal(again.same, original.same)
    for pair, other in zip(original.pairs, again.pairs, strict=True):
        for one, two in zip(pair, other, strict=True):
            np.testing.assert_array_equal(original.image(int(one)), again.image(int(two)))


def test_real_bins(real_data):
    with pytest.warns(UserWarning, match="2 of 6,000 pairs repeat"):
        celeba = open_pairs(real_data / "celeba112" / "celeba_test.bin")
    assert celeba.pairs.shape == (6000, 2)
    assert celeba.same.sum() == 3000
    assert len(celeba) == 2980  # 2,976 distinct images, and those of two repeated pairs
    assert celeba.image(2979).shape == (112, 112, 3)
    small = open_pairs(real_data / "small_lfw.bin")
    assert len(small.same) == 10
    assert small.image(0).shape == (112, 112, 3)


@pytest.mark.parametrize(
    "labels",
    [[1, 0], [1.0, 0.0], *(np.array([1, 0], kind) for kind in ("u1", "i8", "<f4", ">i4", "f8"))],
)
def test_labels_0_and_1_mean_what_they_say(tmp_path, labels):
    path = tmp_path / "pairs.bin"
    path.write_bytes(pickle.dumps(([b"a", b"b", b"c", b"d"], labels), 2))
    assert read_bin(path).same.tolist() == [True, False]


def test_one_image_referred_to_many_times_is_refused_at_once(tmp_path, monkeypatch):
    hashed = []
    key = bin_pairs.content_key
    monkeypatch.setattr(bin_pairs, "content_key", lambda image: hashed.append(1) or key(image))
    path, image = tmp_path / "pairs.bin", b"image"
    path.write_bytes(pickle.dumps(([image] * 400, [True] * 200), 2))
    with pytest.raises(FacedistillError, match=r"200 of 200 pairs repeat .*list each pair once"):
        read_bin(path)
    assert len(hashed) == 1


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"PK\x03\x04....", r"into a \.pt or \.safetensors"), (b"\0\0\x80?....", "own pairs are")],
)
def test_a_bin_that_is_something_else_is_called_that(tmp_path, content, line):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(FacedistillError, match=f"model.bin is no file of verification.*{line}"):
        read_bin(tmp_path / "model.bin")
