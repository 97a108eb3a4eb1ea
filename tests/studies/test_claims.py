import numpy as np
import pytest
from scipy import stats
from studies.claims import claim_text, claims, complete_seeds

from tests.studies.figures import GAINS, STUDY, made_up_runs


def test_seeds_count_that_all_arms_have():
    assert complete_seeds(STUDY, made_up_runs()) == ["0", "1", "2", "3"]


def test_a_claim_is_the_paired_t_interval_of_the_seeds():
    first = claims(STUDY, made_up_runs())[0]
    assert (first["name"], first["measure"]) == ("with_it - without", "test TAR@1e-3")
    assert first["difference"] == pytest.approx(4.0)
    paired = stats.ttest_1samp(GAINS, 0).confidence_interval(0.95)
    assert (first["low"], first["high"]) == pytest.approx((paired.low, paired.high))
    assert first["seeds"] == 4
    told = first["least_difference_told"]
    deviation = np.std(GAINS, ddof=1)
    critical = stats.t.ppf(0.975, 3)
    power = 1 - stats.nct.cdf(critical, 3, told / (deviation / 2))
    assert power == pytest.approx(0.8, abs=1e-6)


def test_every_contrast_is_claimed_on_every_measure_the_primary_one_first():
    found = [(claim["name"], claim["measure"]) for claim in claims(STUDY, made_up_runs())]
    contrasts = ["with_it - without", "without+centred - without"]
    assert found == [
        (name, measure) for measure in ("test TAR@1e-3", "test accuracy") for name in contrasts
    ]


def test_one_seed_has_no_interval_and_no_seed_no_claim():
    one = {arm: {"0": figures["0"]} for arm, figures in made_up_runs().items()}
    first = claims(STUDY, one)[0]
    assert (first["low"], first["least_difference_told"]) == (None, None)
    assert claim_text(first) == "+3.00"
    assert claims(STUDY, {arm: {} for arm in one}) == []
