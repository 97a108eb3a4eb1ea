import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import (
    Subset,
    check_labels,
    relabel,
    split_identities,
    warn_of_one_identity,
)
from facedistill.data.sample import content_key


class Letters(FaceDataset):
    name = "letters"

    def __init__(self, labels: list[int]) -> None:
        self.labels = np.array(labels, np.int64)

    def encoded(self, index: int) -> bytes:
        return bytes([65 + index])

    def where(self, index: int) -> str:
        return f"letter {index}"


def test_dense_labels_pass() -> None:
    assert check_labels(np.array([2, 0, 1, 1]), "x") == 3
    assert check_labels(np.array([-1, -1]), "x") == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2, 2], "no image has label 1 .*--relabel.*data.relabel: true"),
        ([1, 2], "no image has label 0"),
        ([0, 2**62], "no image has label 1 "),
        ([0, -1, 1], "1 of 3 images are unlabelled"),
        ([-2, 0], "label -2 is negative"),
        ([], "no images"),
    ],
)
def test_other_labels_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(FacedistillError, match=f"^set: .*{message}"):
        check_labels(np.array(labels, np.int64), "set")


labels_with_holes = hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 10**12))


@pytest.mark.parametrize(("labels", "warned"), [([0, 0, 0], True), ([0, 1], False), ([-1], False)])
def test_one_identity_alone_is_warned_of(labels, warned, recwarn) -> None:
    warn_of_one_identity(np.array(labels), "photos")
    assert [str(w.message)[:47] for w in recwarn] == warned * [
        "photos: all 3 images are of one identity, so th"
    ]


@settings(deadline=None)
@given(labels_with_holes)
def test_relabel_is_dense_and_reversible(labels: np.ndarray) -> None:
    renumbered, mapping = relabel(labels)
    np.testing.assert_array_equal(mapping[renumbered], labels)
    assert check_labels(renumbered, "x") == len(mapping) == len(set(labels.tolist()))


def test_relabel_keeps_unlabelled() -> None:
    renumbered, mapping = relabel(np.array([-1, 7, -1, 5]))
    assert renumbered.tolist() == [-1, 1, -1, 0]
    assert mapping.tolist() == [5, 7]


@settings(deadline=None)
@given(labels_with_holes.filter(lambda labels: len(set(labels.tolist())) > 1), st.data())
def test_split_is_disjoint_and_whole(labels: np.ndarray, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(set(labels.tolist())) - 1))
    training, validation = split_identities(labels, count, seed=3)
    assert sorted([*training, *validation]) == list(range(len(labels)))
    assert len(set(labels[validation].tolist())) == count
    assert not set(labels[validation].tolist()) & set(labels[training].tolist())
    again = split_identities(labels, count, seed=3)
    np.testing.assert_array_equal(again[1], validation)


def test_split_depends_on_the_seed() -> None:
    labels = np.arange(100)
    splits = {tuple(split_identities(labels, 50, seed)[1]) for seed in range(3)}
    assert len(splits) == 3


@pytest.mark.parametrize(("labels", "count"), [([0, 1], 0), ([0, 1], 2), ([-1, -1], 1)])
def test_impossible_splits_are_refused(labels: list[int], count: int) -> None:
    with pytest.raises(FacedistillError, match="cannot"):
        split_identities(np.array(labels), count, 0)


def test_subset_renumbers_labels_and_keeps_keys() -> None:
    subset = Subset(Letters([0, 1, 2, 2]), [3, 1])
    assert subset.labels.tolist() == [1, 0]
    assert subset.encoded(0) == b"D"
    assert subset.where(1) == "letter 1"
    assert subset.key(0) == content_key(b"D")
    assert Subset(subset, [1], labels=np.array([9])).labels.tolist() == [9]
    with pytest.raises(IndexError):
        Subset(subset, [2])
    with pytest.raises(ValueError, match="1 labels for 2"):
        Subset(subset, [0, 1], labels=np.array([9]))
