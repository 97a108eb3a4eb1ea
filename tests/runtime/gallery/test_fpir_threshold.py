import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery.fpir_threshold import pair_rate, search_threshold

MEASURED = {"1e-1": 0.1, "1e-2": 0.2, "1e-3": 0.3, "1e-4": 0.4}


def test_rate_of_a_pair_gives_the_rate_of_the_search():
    assert pair_rate(0.01, 1) == pytest.approx(0.01)
    far = pair_rate(0.2, 50)
    searches = np.random.default_rng(0).random((20_000, 50)) < far
    assert searches.any(axis=1).mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("fpir", [0, 1, 1.5])
def test_what_is_no_rate_is_refused(fpir):
    with pytest.raises(FacedistillError, match="not between 0 and 1"):
        pair_rate(fpir, 3)


def test_threshold_rises_with_the_gallery_and_lies_between_measured_ones():
    one, ten, many = (search_threshold(MEASURED, count, 0.01) for count in (1, 10, 100_000))
    assert one.cosine == pytest.approx(0.2)
    assert ten.cosine == pytest.approx(0.3, abs=0.001)
    assert not ten.beyond
    assert many.cosine == pytest.approx(0.7, abs=0.001)  # A tenth of a pair's FAR costs 0.1.
    assert many.beyond
    assert search_threshold(MEASURED, 10**9, 0.001).cosine == 1


def test_looser_than_measured_is_the_loosest_measured():
    assert search_threshold(MEASURED, 1, 0.9).cosine == 0.1


def test_stricter_rates_never_have_lower_thresholds():
    noisy = {"1e-2": 0.3, "1e-3": 0.25}
    assert search_threshold(noisy, 100, 0.01).cosine == 0.3


def test_without_two_rates_there_is_none():
    assert search_threshold({}, 5) is None
    assert search_threshold({"1e-3": 0.3}, 5) is None
