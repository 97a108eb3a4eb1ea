import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.image_file import decode_image
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.pairs.bin_pairs import read_bin, write_bin
from facedistill.data.pairs.lfw_pairs import read_lfw
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet


def jpeg(seed, suffix=".jpg"):
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return cv2.imencode(suffix, cv2.resize(coarse, (8, 8)))[1].tobytes()


def write(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def as_array(data, shape=(-1,)):
    return np.frombuffer(data, np.uint8).reshape(shape)


class Listed(FaceDataset):
    def __init__(self, labels):
        self.name = "listed"
        self.labels = np.asarray(labels, np.int64)

    def encoded(self, index):
        return jpeg(index, ".png")

    def where(self, index):
        return f"listed {index}"


# .bin files


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "convert",
    [bytes, as_array, lambda data: as_array(data, (-1, 1)), lambda data: as_array(data, (1, -1))],
)
@pytest.mark.parametrize("same", [[True, False], (np.True_, np.False_), np.array([True, False])])
def test_bin_of_any_writer(tmp_path, protocol, convert, same):
    images = [jpeg(seed) for seed in range(4)]
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
    a, b, c = (jpeg(seed) for seed in range(3))
    path = write(tmp_path / "set.bin", ([a, b, as_array(b), c, c, a], [True, False, False]))
    pairs = read_bin(path)
    assert len(pairs) == 3
    np.testing.assert_array_equal(pairs.pairs, [[0, 1], [1, 2], [2, 0]])


def test_repeated_pairs_keep_their_own_images_and_are_told(tmp_path):
    a, b, c = (jpeg(seed) for seed in range(3))
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
        (([b"a", b"b"], [1]), "label of pair 0 is a int"),
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
    a = jpeg(0)
    pairs = read_bin(write(tmp_path / "set.bin", ([a, a[:50], jpeg(1), a], [True, False])))
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


# Folders with pairs.txt

PEOPLE = {"Ann": 3, "Bob_B": 2, "Eve": 1}


def lfw(tmp_path, lines, suffix=".jpg", separator="\t"):
    for seed, (name, count) in enumerate(PEOPLE.items()):
        (tmp_path / name).mkdir()
        for number in range(1, count + 1):
            image = jpeg(10 * seed + number, suffix)
            (tmp_path / name / f"{name}_{number:04d}{suffix}").write_bytes(image)
    text = "\n".join(separator.join(line.split()) for line in lines)
    (tmp_path / "pairs.txt").write_text(text + "\n", encoding="utf-8")
    return tmp_path


GOOD = ["2 1", "Ann 1 2", "Ann 1 Bob_B 2", "Bob_B 1 2", "Ann 3 Eve 1"]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_lfw_layout(tmp_path, suffix, separator):
    folder = lfw(tmp_path, GOOD, suffix, separator)
    pairs = open_pairs(folder)
    np.testing.assert_array_equal(pairs.same, [True, False, True, False])
    np.testing.assert_array_equal(pairs.folds, [0, 0, 1, 1])
    np.testing.assert_array_equal(pairs.pairs, [[0, 1], [0, 2], [3, 2], [4, 5]])
    np.testing.assert_array_equal(pairs.identities, [0, 0, 1, 1, 0, 2])
    np.testing.assert_array_equal(pairs.image(2), decode_image(jpeg(12, suffix), "here"))
    assert len(pairs) == 6


def test_list_beside_or_inside_the_folder(tmp_path, monkeypatch):
    folder = tmp_path / "made"
    folder.mkdir()
    lfw(folder, GOOD)
    (folder / "pairs.txt").rename(folder / "inside.txt")
    assert len(open_pairs(f"{folder}:inside.txt").same) == 4
    (folder / "inside.txt").rename(tmp_path / "beside.txt")
    monkeypatch.chdir(tmp_path)
    assert len(open_pairs("made:beside.txt").same) == 4
    with pytest.raises(FacedistillError, match=r"cannot read .*none\.txt"):
        open_pairs("made:none.txt")


def test_list_without_folds_is_cut_into_ten_of_both_kinds(tmp_path):
    same = [f"Ann {i} {j}" for i, j in ((1, 2), (1, 3), (2, 3))] + ["Bob_B 1 2"]
    different = [f"Ann {i} Bob_B {j}" for i in (1, 2, 3) for j in (1, 2)]
    folder = lfw(tmp_path, ["4", *same, *different[:4]])
    assert open_pairs(folder).folds is None
    (folder / "pairs.txt").write_text("\n".join(["12", *(same * 3), *(different * 2)]))
    pairs = open_pairs(folder)
    for fold in range(10):
        assert set(pairs.same[pairs.folds == fold]) == {True, False}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "empty"),
        (["ten 300"], "line 1: 'ten"),
        (["1 2 3"], "line 1"),
        (["-1"], "line 1"),
        (["0"], "promises no pairs"),
        (["9" * 30], "line 1"),
        (GOOD[:-1], "promises 4 pairs, there are 3"),
        ([*GOOD, "Ann 1 3"], "promises 4 pairs, there are 5"),
        (["1 1", "Ann 1", "Ann 1 Eve 1"], "line 2"),
        (["1 1", "Ann 1 2", "Ann 1 Eve 1 5"], "line 3"),
        (["1 1", "Ann 1 two", "Ann 1 Eve 1"], "line 2: 'two' is no number"),
        (["1 1", "Ann 1 2", "Ann 1 Eve 7"], "line 3: there is no image .*Eve_0007"),
        (["1 1", "Ann 1 2", "Ann 1 Zoe 1"], "line 3: there is no image .*Zoe"),
        (["1 1", "Ann 1 2", "Ann 1 ../Ann 1"], "line 3: '../Ann' is no identity's folder"),
        (["1 1", "Ann 1 2", "Ann 1 Ann 3"], "one identity in four fields"),
        (["2 1", *GOOD[1:3], "Ann 1 Bob_B 1", "Ann 3 Eve 1"], "fold 2 has 0 pairs of one identity"),
    ],
)
def test_wrong_lists_are_refused_with_their_line(tmp_path, lines, message):
    folder = lfw(tmp_path, lines)
    with pytest.raises(FacedistillError, match=message) as caught:
        read_lfw(folder, folder / "pairs.txt")
    assert "pairs.txt" in str(caught.value)


def test_list_that_is_no_text(tmp_path):
    (tmp_path / "pairs.txt").write_bytes(b"10 300\n\xff\xfe")
    with pytest.raises(FacedistillError, match="not UTF-8"):
        open_pairs(tmp_path)


# Drawn pairs and the set itself


def test_pairs_of_a_data_set_keep_only_its_used_images():
    faces = Listed(np.repeat(np.arange(30), 40))
    pairs = PairSet.from_dataset(faces, 40, 1)
    assert len(pairs) == len(np.unique(pairs.pairs)) <= 80
    np.testing.assert_array_equal(pairs.folds, np.repeat(np.arange(10), 4))
    assert pairs.identities is not None
    people = pairs.identities[pairs.pairs]
    np.testing.assert_array_equal(people[:, 0] == people[:, 1], pairs.same)
    shown = pairs.faces.indices[pairs.pairs]
    np.testing.assert_array_equal(
        pairs.image(int(pairs.pairs[0, 1])), faces[int(shown[0, 1])].image
    )
    with pytest.raises(FacedistillError, match="listed: cannot draw"):
        PairSet.from_dataset(Listed([0, 0, 1]), 50, 0)


def test_procedural_pairs_repeat_themselves():
    spec = "procedural:identities=12,images=3,seed=4,size=32"
    pairs, again = open_pairs(spec), open_pairs(spec)
    np.testing.assert_array_equal(pairs.pairs, again.pairs)
    assert len(pairs.same) == 72  # all 3 pairs of each of 12 people, and as many of two
    assert pairs.image(0).shape == (32, 32, 3)
    assert len(open_pairs(spec, count=20).same) == 20
    assert isinstance(pairs.faces.dataset, ProceduralDataset)


@pytest.mark.parametrize("source", ["nowhere", "no:where", "pairs.npy", "C:\\faces"])
def test_sources_that_are_none_are_refused_with_the_choice(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.npy").touch()
    with pytest.raises(FacedistillError, match=r"give a \.bin file, a folder"):
        open_pairs(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": np.array([[0, 1, 2]] * 2)}, "shape"),
        ({"pairs": np.array([[0, 1]])}, "shape"),
        ({"pairs": np.array([[0, 1], [2, 4]])}, "not among 4"),
        ({"pairs": np.array([[0, 1], [2, -1]])}, "not among 4"),
        ({"same": np.zeros(0, bool), "pairs": np.zeros((0, 2))}, "holds no pairs"),
        ({"folds": np.zeros(3, int)}, "folds of shape"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(change, message):
    fields = {"pairs": np.array([[0, 1], [2, 3]]), "same": np.array([True, False]), **change}
    with pytest.raises(FacedistillError, match=message):
        PairSet("set", Listed([0, 0, 1, 2]), **fields)


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
