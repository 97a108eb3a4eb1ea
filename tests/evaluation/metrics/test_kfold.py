import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.kfold import check_kfold_rule, contiguous_folds, verification


def insightface_reference(distances, same, folds):
    """The protocol as it is described: a loop over folds and thresholds."""
    thresholds = [0.01 * step for step in range(400)]
    accuracies, chosen = [], []
    for fold in range(max(folds) + 1):
        best, best_threshold = -1.0, None
        for threshold in thresholds:
            right = [
                (d < threshold) == s
                for d, s, f in zip(distances, same, folds, strict=True)
                if f != fold
            ]
            if sum(right) / len(right) > best:
                best, best_threshold = sum(right) / len(right), threshold
        held_out = [
            (d < best_threshold) == s
            for d, s, f in zip(distances, same, folds, strict=True)
            if f == fold
        ]
        accuracies.append(sum(held_out) / len(held_out))
        chosen.append(best_threshold)
    return accuracies, chosen


def exact_reference(distances, same, folds):
    """Every distance of the other folds is tried, after one that accepts no pair."""
    accuracies = []
    for fold in range(max(folds) + 1):
        train = [(d, s) for d, s, f in zip(distances, same, folds, strict=True) if f != fold]
        best, best_threshold = sum(not s for _, s in train), -1.0
        for threshold in sorted(d for d, _ in train):
            right = sum((d <= threshold) == s for d, s in train)
            if right > best:
                best, best_threshold = right, threshold
        held_out = [
            (d <= best_threshold) == s
            for d, s, f in zip(distances, same, folds, strict=True)
            if f == fold
        ]
        accuracies.append(sum(held_out) / len(held_out))
    return accuracies


@st.composite
def scored_pairs(draw):
    count = draw(st.integers(4, 30))
    # Multiples of 0.005 lie on the grid of distances: ties with thresholds and with each other.
    step = draw(st.sampled_from([0.25, 0.005, 0.0031]))
    scores = draw(
        st.lists(st.integers(-int(1 / step), int(1 / step)), min_size=count, max_size=count)
    )
    same = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    same[0], same[-1] = True, False
    folds = draw(st.integers(2, min(5, count)))
    return np.array(scores) * step, np.array(same), folds


@settings(max_examples=60, deadline=None)
@given(scored_pairs())
def test_insightface_protocol_is_the_double_loop(case):
    scores, same, folds = case
    result = verification(scores, same, "insightface", folds)
    accuracies, thresholds = insightface_reference(
        2 - 2 * scores, same.tolist(), contiguous_folds(len(scores), folds).tolist()
    )
    np.testing.assert_array_equal(result.fold_accuracy, accuracies)
    np.testing.assert_allclose(result.thresholds, thresholds, atol=1e-12)
    assert result.accuracy == pytest.approx(np.mean(accuracies))
    assert result.std == pytest.approx(np.std(accuracies, ddof=0))


@settings(max_examples=60, deadline=None)
@given(scored_pairs())
def test_exact_protocol_is_the_double_loop(case):
    scores, same, folds = case
    result = verification(scores, same, "exact", folds)
    reference = exact_reference(
        2 - 2 * scores, same.tolist(), contiguous_folds(len(scores), folds).tolist()
    )
    np.testing.assert_array_equal(result.fold_accuracy, reference)


@given(st.integers(2, 40), st.integers(2, 12))
def test_folds_are_those_of_scikit_learn(pairs, folds):
    if pairs < folds:
        return
    fold = contiguous_folds(pairs, folds)
    for index, (_, held_out) in enumerate(KFold(folds).split(np.zeros(pairs))):
        assert np.flatnonzero(fold == index).tolist() == held_out.tolist()


def test_explicit_folds_need_not_be_contiguous():
    rng = np.random.default_rng(0)
    scores, same = rng.uniform(-1, 1, 40), rng.random(40) < 0.5
    fold = rng.permutation(np.arange(40) % 4)
    order = np.argsort(fold, kind="stable")
    shuffled = verification(scores, same, folds=fold)
    sorted_by_fold = verification(scores[order], same[order], folds=4)
    np.testing.assert_array_equal(shuffled.fold_accuracy, sorted_by_fold.fold_accuracy)
    np.testing.assert_array_equal(shuffled.correct[order], sorted_by_fold.correct)


@pytest.mark.parametrize("protocol", ["insightface", "exact"])
def test_separable_scores_are_all_right(protocol):
    same = np.arange(40) % 2 == 0
    result = verification(np.where(same, 0.8, 0.1), same, protocol)
    assert result.accuracy == 1
    assert result.std == 0
    assert result.pairs == 40
    assert ((result.cosine_thresholds >= 0.1) & (result.cosine_thresholds <= 0.8)).all()


@pytest.mark.parametrize("protocol", ["insightface", "exact"])
def test_labels_without_relation_to_scores_are_chance(protocol):
    rng = np.random.default_rng()
    same = rng.permutation(np.arange(4000) % 2 == 0)
    result = verification(rng.uniform(-1, 1, 4000), same, protocol)
    assert abs(result.accuracy - 0.5) < 0.06  # over 7 standard deviations of a coin


@pytest.mark.parametrize("protocol", ["insightface", "exact"])
def test_result_does_not_depend_on_held_out_labels_except_through_their_own_fold(protocol):
    rng = np.random.default_rng(5)
    scores, same = rng.uniform(-1, 1, 50), np.arange(50) % 2 == 0
    before = verification(scores, same, protocol, folds=5)
    same[:10] = ~same[:10]
    after = verification(scores, same, protocol, folds=5)
    assert before.thresholds[0] == after.thresholds[0]
    assert (before.correct[:10] == ~after.correct[:10]).all()


def test_interval_covers_the_accuracy_and_is_repeatable():
    rng = np.random.default_rng(6)
    same = np.arange(600) % 2 == 0
    scores = np.clip(rng.normal(np.where(same, 0.5, 0.1), 0.2), -1, 1)
    first, second = (verification(scores, same, resamples=200, seed=3) for _ in range(2))
    assert first.interval == second.interval
    assert first.interval.low < first.accuracy < first.interval.high
    assert first.interval.over == "pairs"
    assert verification(scores, same).interval is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 10}, "4 pairs cannot fill 10 folds"),
        ({"folds": 1}, "at least 2"),
        ({"folds": np.array([0, 0, 2, 2])}, "fold 1 has no pairs"),
        ({"folds": np.array([0, 0, 0, 0])}, "fold 1 has no pairs"),
        ({"folds": np.array([0, 1])}, "one integer per pair"),
        ({"folds": np.array([-1, 0, 1, 1])}, r"0\.\.K-1"),
        ({"folds": np.array([0, 1, 10**12, 1])}, r"0\.\.K-1"),
        ({"protocol": "lfw"}, "unknown protocol 'lfw'"),
        ({"scores": np.array([0.1, 1.5, 0.2, 0.3])}, "pair 1 is 1.5, not a cosine"),
        ({"same": np.ones(4, bool)}, "two identities"),
    ],
)
def test_unusable_input_is_refused(change, message):
    arguments = {
        "scores": np.array([0.1, 0.5, 0.2, 0.3]),
        "same": np.array([True, False, True, False]),
        "folds": 2,
        **change,
    }
    with pytest.raises(FacedistillError, match=message):
        verification(**arguments)


def test_rules_are_known_by_name():
    assert check_kfold_rule("exact") == "exact"
    with pytest.raises(FacedistillError, match="take insightface or exact"):
        check_kfold_rule("lfw")
