import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics import similarity
from facedistill.evaluation.metrics.similarity import (
    check_scores,
    embedding_norms,
    pair_similarities,
    squared_distances,
)


def random_embeddings(count: int, size: int = 7) -> np.ndarray:
    return np.random.default_rng(1).normal(3, 5, (count, size)).astype(np.float32)


def test_cosines_and_distances_are_those_of_unit_vectors():
    embeddings = random_embeddings(6)
    pairs = np.array([(i, j) for i in range(6) for j in range(6)])
    unit = embeddings.astype(float) / np.linalg.norm(embeddings.astype(float), axis=1)[:, None]
    cosines = pair_similarities(embeddings, pairs)
    np.testing.assert_allclose(cosines, [unit[i] @ unit[j] for i, j in pairs], atol=1e-12)
    distances = [((unit[i] - unit[j]) ** 2).sum() for i, j in pairs]
    np.testing.assert_allclose(squared_distances(cosines), distances, atol=1e-12)


@given(st.integers(1, 9))
def test_chunks_do_not_matter(rows):
    embeddings = random_embeddings(8)
    pairs = np.random.default_rng(2).integers(8, size=(11, 2))
    whole = pair_similarities(embeddings, pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_ROWS_AT_ONCE", rows)
        np.testing.assert_array_equal(pair_similarities(embeddings, pairs), whole)


def test_cosine_and_distance_stay_in_range_for_identical_and_opposite_vectors():
    embedding = np.full((1, 512), 0.1, dtype=np.float32)
    embeddings = np.concatenate([embedding, embedding, -3 * embedding])
    cosines = pair_similarities(embeddings, np.array([[0, 1], [0, 2]]))
    np.testing.assert_allclose(cosines, [1, -1])
    assert (np.abs(cosines) <= 1).all()
    distances = squared_distances(cosines)
    assert distances.min() >= 0
    assert distances.max() <= 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_are_named(bad):
    embeddings = random_embeddings(4)
    embeddings[2, 3] = bad
    with pytest.raises(FacedistillError, match=r"embedding 2 is not finite \(1 of 4 are not\)"):
        embedding_norms(embeddings)


def test_zero_embedding_is_named():
    embeddings = random_embeddings(4)
    embeddings[1:3] = 0
    with pytest.raises(FacedistillError, match=r"embedding 1 is all zero \(2 of 4"):
        pair_similarities(embeddings, np.array([[0, 3]]))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.array([[0, 1], [3, 4]]), r"pair 1 is \(3, 4\), but there are 4"),
        (np.array([[0, -1]]), r"pair 0 is \(0, -1\)"),
        (np.array([0, 1]), r"give integers \(P, 2\)"),
        (np.array([[0.0, 1.0]]), r"give integers \(P, 2\)"),
    ],
)
def test_pairs_that_name_no_embedding_are_refused(pairs, message):
    with pytest.raises(FacedistillError, match=message):
        pair_similarities(random_embeddings(4), pairs)


def test_flat_embeddings_are_refused():
    with pytest.raises(FacedistillError, match="one row per image"):
        embedding_norms(np.ones(4))


@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([0.1, 0.2], [True, True], "none of the 2 pairs is of two identities"),
        ([0.1, 0.2], [False, False], "none of the 2 pairs is of one identity"),
        ([], [], "none of the 0 pairs"),
        ([0.1, np.nan], [True, False], "score of pair 1 is nan"),
        ([0.1, 0.2, 0.3], [True, False], "one of each per pair"),
        ([0.1, 0.2], [1, 2], "True"),
    ],
)
def test_useless_scores_are_refused(scores, same, message):
    same = np.array(same, dtype=bool if not same or isinstance(same[0], bool) else int)
    with pytest.raises(FacedistillError, match=message):
        check_scores(np.array(scores), same)


def test_single_precision_scores_stay_single():
    scores, same = check_scores(np.array([0.1, 0.2], np.float32), np.array([0, 1]))
    assert scores.dtype == np.float32
    assert same.tolist() == [False, True]
