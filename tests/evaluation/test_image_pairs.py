import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.image_pairs import MIN_IDENTITIES
from tests.evaluation.pair_evaluation import FacePairs, evaluate_pairs, pixels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": np.array([[0, 1], [2, 3], [1, 0]])}, "images 0 and 1 is listed 2 times"),
        ({"pairs": np.array([[0, 1], [2, 2], [1, 3]])}, "pair 1 joins image 2 to itself"),
        ({"pairs": np.array([[0, 1], [2, 3]])}, "3 labels"),
        ({"same": np.ones(3, bool)}, "two identities"),
    ],
)
def test_pairs_that_would_mislead_are_refused(change, message):
    faces = FacePairs(pairs=np.array([[0, 1], [2, 3], [1, 4]]), same=np.array([True, False, True]))
    for name, value in change.items():
        setattr(faces, name, value)
    with pytest.raises(FacedistillError, match=message):
        evaluate_pairs(pixels, faces)


@pytest.mark.parametrize("unknown", ["all", "one", "few"])
def test_pairs_are_resampled_where_identities_are_not_known_or_few(unknown):
    identities = np.arange(40) // 2
    if unknown == "one":
        identities[3] = -1
    if unknown == "few":
        identities = np.arange(40) % (MIN_IDENTITIES - 1)
    faces = FacePairs(identities=None if unknown == "all" else identities)
    report = evaluate_pairs(pixels, faces, resamples=20)
    assert report.result.interval.over == report.auc.interval.over == "pairs"


def test_fewer_pairs_than_folds_are_folds_of_their_own():
    faces = FacePairs(pairs=np.array([[0, 1], [2, 3], [1, 4]]), same=np.array([True, False, True]))
    with pytest.warns(UserWarning, match="3 pairs do not fill 10 folds: each is a fold of its own"):
        report = evaluate_pairs(pixels, faces)
    assert len(report.verification["insightface"].fold_accuracy) == 3
