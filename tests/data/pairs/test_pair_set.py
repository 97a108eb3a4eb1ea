import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.pair_set import PairSet
from tests.data.pairs.listed_images import Listed


def test_pairs_of_a_data_set_keep_only_its_used_images():
    faces = Listed(np.repeat(np.arange(30), 40))
    pairs = PairSet.from_dataset(faces, 40, 1)
    assert len(pairs) == len(np.unique(pairs.pairs)) <= 80
    np.testing.assert_array_equal(pairs.folds, np.repeat(np.arange(10), 4))
    assert pairs.identities is not None
    identities = pairs.identities[pairs.pairs]
    np.testing.assert_array_equal(identities[:, 0] == identities[:, 1], pairs.same)
    shown = pairs.faces.indices[pairs.pairs]
    np.testing.assert_array_equal(
        pairs.image(int(pairs.pairs[0, 1])), faces[int(shown[0, 1])].image
    )
    with pytest.raises(FacedistillError, match="listed: cannot draw"):
        PairSet.from_dataset(Listed([0, 0, 1]), 50, 0)


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
