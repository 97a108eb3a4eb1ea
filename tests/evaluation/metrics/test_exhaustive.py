import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics import exhaustive as module
from facedistill.evaluation.metrics.exhaustive import compare_all
from facedistill.evaluation.metrics.roc import area_under_curve, roc_curve, tar_at_far
from facedistill.evaluation.metrics.score_histogram import count_scores
from tests.evaluation.metrics.vectors import EXACT, cosines_of_all_pairs


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([3, 4, 1024]),
)
def test_the_curve_is_that_of_all_pairs_written_out(seed, tied, both, folded, block):
    rng = np.random.default_rng(seed)
    identities = rng.integers(0, 5, 21)
    identities[:3] = 0, 0, 4
    folds = identities // 2 if folded else None

    def embeddings():
        # Vectors whose cosines are exact in any order of addition, so that ties are exact.
        return EXACT[rng.integers(len(EXACT), size=21)] if tied else rng.normal(size=(21, 6))

    probes = embeddings()
    gallery = embeddings() if both else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", block)
        patch.setattr(module, "_COLUMNS", 2 * block)
        found = compare_all(probes, gallery, identities, folds=folds)
    pairs = cosines_of_all_pairs(probes, gallery, identities)
    if folded:  # Of two identities of one fold nothing is known.
        pairs = [each for each in pairs if each[3] or folds[each[0]] != folds[each[1]]]
    scores = np.array([cosine for _, _, cosine, _ in pairs])
    same = np.array([genuine for _, _, _, genuine in pairs])
    if tied:
        scores = np.round(scores, 9)
    whole = roc_curve(scores, same)
    assert (found.curve.genuine, found.curve.impostors) == (same.sum(), (~same).sum())
    assert area_under_curve(found.curve) == area_under_curve(whole)
    for far in (0.5, 0.1, 0.03, 0.01, 1e-4):
        point, expected = tar_at_far(found.curve, far), tar_at_far(whole, far)
        assert (point.tar, point.far, point.reason) == (expected.tar, expected.far, expected.reason)
        if point.threshold is not None:
            assert point.threshold == pytest.approx(expected.threshold, abs=1e-9)
    counted = count_scores(scores, same)
    if tied:
        np.testing.assert_array_equal(found.counts.impostors, counted.impostors)
        np.testing.assert_array_equal(found.counts.genuine, counted.genuine)
    assert found.counts.impostors.sum() == (~same).sum()
    highest = np.sort(scores[~same])[::-1][: module.HARDEST]
    np.testing.assert_allclose([pair.score for pair in found.closest], highest, atol=1e-9)
    by_images = {(i, j): cosine for i, j, cosine, _ in pairs}
    for pair in found.closest:
        assert by_images[pair.probe, pair.gallery] == pytest.approx(pair.score, abs=1e-9)
        assert identities[pair.probe] != identities[pair.gallery]


def test_embeddings_that_do_not_fit_are_refused():
    identities = np.array([0, 0, 1])
    with pytest.raises(FacedistillError, match="one identity each"):
        compare_all(np.ones((2, 3)), None, identities)
    with pytest.raises(FacedistillError, match="both must hold the same images"):
        compare_all(np.ones((3, 3)), np.ones((3, 4)), identities)
    with pytest.raises(FacedistillError, match="embedding 1 is not finite"):
        compare_all(np.array([[1.0], [np.nan], [1.0]]), None, identities)
