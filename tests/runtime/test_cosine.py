import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.cosine import similarity


def test_similarity_is_the_cosine():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 8))
    for one, other, cosine in zip(a, b, similarity(a, b), strict=True):
        assert cosine == pytest.approx(one @ other / np.sqrt((one @ one) * (other @ other)))
        assert similarity(one, other) == pytest.approx(cosine)
    np.testing.assert_allclose(similarity(a[0], b), [similarity(a[0], each) for each in b])


@pytest.mark.parametrize(("a", "b"), [((4, 8), (3, 8)), ((8,), (7,)), ((2, 4, 8), (8,)), ((), ())])
def test_embeddings_that_do_not_fit_are_refused(a, b):
    with pytest.raises(FacedistillError, match="cannot be compared"):
        similarity(np.ones(a), np.ones(b))


def test_an_embedding_of_zeros_is_refused():
    with pytest.raises(FacedistillError, match="all zero"):
        similarity(np.ones((2, 8)), np.zeros(8))
