import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.evaluation.protocols import distractors as module
from facedistill.evaluation.protocols.distractors import distractor_rates
from tests.evaluation.metrics.vectors import EXACT


def by_hand(probes, identities, distractors, size, rank):
    hits = []
    for i, one in enumerate(probes):
        for j, mate in enumerate(probes):
            if i != j and identities[i] == identities[j]:
                better = sum(float(one @ other >= one @ mate) for other in distractors[:size])
                hits.append(better < rank)
    return np.mean(hits), len(hits)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([3, 8192]))
def test_rates_are_those_of_one_search_at_a_time(seed, tied, at_once):
    rng = np.random.default_rng(seed)
    vectors = EXACT[rng.integers(len(EXACT), size=40)] if tied else rng.normal(size=(40, 5))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    probes, distractors = vectors[:15], vectors[15:]
    identities = rng.integers(0, 4, 15)
    identities[0] = identities[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DISTRACTORS_AT_ONCE", at_once)
        patch.setattr(module, "_PROBES_AT_ONCE", 4)
        rates = distractor_rates(
            probes, identities, distractors, sizes=(1, 10, 25), ranks=(1, 3), resamples=0
        )
    for rate in rates:
        expected, searches = by_hand(probes, identities, distractors, rate.distractors, rate.rank)
        assert rate.rate.value == pytest.approx(expected, abs=1e-12)
        assert rate.searches == searches
    assert [(r.distractors, r.rank) for r in rates[:3]] == [(1, 1), (1, 3), (10, 1)]


def test_default_sizes_are_those_there_are_and_intervals_are_over_identities():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 8))
    identities = np.repeat(np.arange(30), 3)
    probes = centres[identities] + 0.6 * rng.normal(size=(90, 8))
    rates = distractor_rates(probes, identities, rng.normal(size=(500, 8)), ranks=(1,))
    assert [rate.distractors for rate in rates] == [10, 100, 500]
    assert rates[0].rate.value >= rates[1].rate.value >= rates[2].rate.value
    assert rates[2].rate.interval.low < rates[2].rate.value < rates[2].rate.interval.high
    assert rates[2].rate.interval.units == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identities": np.array([1, 2, 3])}, "no identity among the probes has two photos"),
        ({"identities": np.array([1, 1])}, "one identity per probe"),
        ({"distractors": np.ones((4, 3))}, "from one network"),
        ({"distractors": np.ones((0, 2))}, "no distractors"),
        ({"distractors": np.array([[1.0, 1], [np.inf, 0]])}, "embedding 1 is not finite"),
        ({"probes": np.array([[1.0, 1], [0, 0], [1, 2]])}, "embedding 1 is all zero"),
        ({"sizes": (5,)}, r"give some of 1\.\.4"),
        ({"sizes": ()}, "give some of"),
        ({"ranks": (0,)}, "at least 1"),
    ],
)
def test_unusable_input_is_refused(change, message):
    arguments = {
        "probes": np.array([[1.0, 1], [1, 0], [1, 2]]),
        "identities": np.array([1, 1, 2]),
        "distractors": np.ones((4, 2)),
        **change,
    }
    with pytest.raises(FacedistillError, match=message):
        distractor_rates(**arguments)


def test_a_real_teacher_loses_real_identities_among_more_distractors(real_data):
    faces = open_dataset(real_data / "celeba112")
    embeddings = np.load(real_data / "celeba112" / "edgeface_s_train.npy", mmap_mode="r")
    probes = np.flatnonzero(faces.labels >= 4550)
    rates = distractor_rates(
        embeddings[probes],
        faces.labels[probes],
        embeddings[faces.labels < 1000],
        sizes=(10, 1000, 5000),
        ranks=(1,),
        resamples=0,
    )
    values = [rate.rate.value for rate in rates]
    assert 1 > values[0] > values[1] > values[2] > 0.8
