import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.pair_drawing import make_pairs, most_pairs, tenths


def all_pairs(labels):
    """Every pair there is, by brute force: (mated, impostor)."""
    known = [index for index, label in enumerate(labels) if label >= 0]
    every = set(itertools.combinations(known, 2))
    same = {(a, b) for a, b in every if labels[a] == labels[b]}
    return same, every - same


def check(labels, pairs, same):
    assert pairs.dtype == np.int64
    assert same.dtype == np.bool_
    np.testing.assert_array_equal(labels[pairs[:, 0]] == labels[pairs[:, 1]], same)
    assert (labels[pairs] >= 0).all()
    assert len({frozenset(pair) for pair in pairs.tolist()}) == len(pairs)
    assert same.sum() == len(pairs) // 2


@given(
    labels=st.lists(st.integers(-1, 5), min_size=2, max_size=14).map(np.array),
    share=st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_any_number_of_pairs_up_to_the_most(labels, share, seed):
    genuine, impostors = all_pairs(labels)
    most = 2 * min(len(genuine), len(impostors))
    assert most_pairs(labels) == most
    with pytest.raises(FacedistillError, match=f"at most {most}"):
        make_pairs(labels, most + 2, seed)
    count = int(share * most)
    if count >= 2:
        pairs, same = make_pairs(labels, count, seed)
        assert len(pairs) == count
        check(labels, pairs, same)


def test_all_pairs_can_be_drawn():
    labels = np.array([0, 0, 0, 0, 1, 1])
    genuine, _ = all_pairs(labels)
    pairs, same = make_pairs(labels, 2 * len(genuine), 0)
    assert {tuple(sorted(pair)) for pair in pairs[same].tolist()} == genuine


def test_folds_share_no_identities_where_there_are_enough():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(60), 6))
    pairs, same = make_pairs(labels, 605, 3)
    check(labels, pairs, same)
    fold = tenths(605)
    identities = [set(labels[pairs[fold == k]].ravel().tolist()) for k in range(10)]
    for one, other in itertools.combinations(identities, 2):
        assert not one & other
    for k in range(10):
        assert abs(same[fold == k].mean() - 0.5) < 0.02


def test_few_identities_still_give_balanced_folds():
    labels = np.repeat(np.arange(4), 30)
    pairs, same = make_pairs(labels, 200, 0)
    check(labels, pairs, same)
    np.testing.assert_array_equal(same.reshape(10, 20).sum(axis=1), 10)


def test_mated_pairs_spread_evenly_over_identities():
    labels = np.repeat(np.arange(40), [40] * 4 + [4] * 36)
    pairs, same = make_pairs(labels, 400, 1)
    share = np.bincount(labels[pairs[same, 0]], minlength=40)
    assert share.min() >= 4
    assert share.max() <= 6


def test_impostor_pairs_are_drawn_evenly_from_all():
    labels = np.array([0, 0, 1, 1, 2])
    _, impostors = all_pairs(labels)
    drawn = [pairs[~same][0] for pairs, same in (make_pairs(labels, 2, s) for s in range(2000))]
    counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)[1]
    expected = 2000 / len(impostors)
    assert len(counts) == len(impostors)
    # Six standard deviations around an even share.
    assert np.abs(counts - expected).max() < 6 * expected**0.5


def test_seed_decides():
    labels = np.repeat(np.arange(30), 5)
    first, again, other = (make_pairs(labels, 100, seed)[0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_one_identity_or_one_image_each_gives_no_pairs():
    for labels in (np.zeros(9, int), np.arange(9), np.full(9, -1), np.empty(0, int)):
        assert most_pairs(labels) == 0
        with pytest.raises(FacedistillError, match="at most 0"):
            make_pairs(labels, 2, 0)
    with pytest.raises(FacedistillError, match="at least 2"):
        make_pairs(np.array([0, 0, 1]), 1, 0)


@given(st.integers(10, 5000))
def test_tenths_are_contiguous_and_even(count):
    fold = tenths(count)
    sizes = np.bincount(fold)
    assert len(fold) == count
    assert (np.diff(fold) >= 0).all()
    assert len(sizes) == 10
    assert np.ptp(sizes) <= 1
