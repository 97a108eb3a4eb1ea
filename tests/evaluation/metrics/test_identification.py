import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.evaluation.metrics import identification as module
from facedistill.evaluation.metrics.identification import cmc, open_set, search_gallery
from tests.evaluation.metrics.vectors import EXACT
from tests.evaluation.protocols import ijb_by_hand


@st.composite
def searches(draw, tied):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    entries, probes = draw(st.integers(2, 15)), draw(st.integers(3, 30))
    gallery_identities = rng.permutation(entries) * 3
    probe_identities = rng.choice(np.append(gallery_identities, [1, 2, 4]), probes)
    probe_identities[:2] = gallery_identities[0], 1
    rows = rng.integers(0, len(EXACT), entries + probes)
    vectors = EXACT[rows] if tied else ijb_by_hand.unit(rng.normal(size=(len(rows), 5)))
    return vectors[entries:], probe_identities, vectors[:entries], gallery_identities


@settings(max_examples=60, deadline=None)
@given(st.booleans().flatmap(searches), st.sampled_from([1, 4, 100]))
def test_search_in_blocks_is_the_published_protocol(case, gallery_rows):
    probe_identities = case[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PROBE_ROWS", 7)
        matches = search_gallery(*case, gallery_rows=gallery_rows)
    fars = [0.5, 0.3, 1.0]
    found, mated, thresholds, tpirs = ijb_by_hand.identification(*case, fars, ranks=(1, 2, 5))
    curve = cmc(matches, 5)
    assert matches.mated.sum() == mated
    assert [curve[rank - 1] for rank in found] == [hits / mated for hits in found.values()]
    for point, threshold, tpir in zip(
        open_set(matches, probe_identities, fars, resamples=0), thresholds, tpirs, strict=True
    ):
        if point.tpir is None:
            assert (~matches.mated).sum() * point.target < 1
            continue
        assert point.threshold == pytest.approx(threshold, abs=1e-12)
        assert point.tpir.value == pytest.approx(tpir, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.booleans().flatmap(searches), st.sampled_from([0.05, 0.25, 1 / 3, 0.5, 1.0]))
def test_exact_rule_is_the_best_threshold_that_keeps_the_fpir(case, target):
    matches = search_gallery(*case)
    (point,) = open_set(matches, case[1], [target], rule="exact", resamples=0)
    absent = matches.rival[~matches.mated]
    if point.tpir is None:
        assert 1 / len(absent) > target
        assert "not measurable" in point.reason
        return
    candidates = [-np.inf, *absent]
    tpir = {
        t: ((matches.mate > matches.rival) & (matches.mate > t))[matches.mated].mean()
        for t in candidates
        if (absent > t).mean() <= target
    }
    assert point.tpir.value == max(tpir.values())
    assert point.fpir == (absent > point.threshold).mean() <= target


def test_best_of_several_entries_is_the_mate_and_none_of_them_is_a_rival():
    gallery = np.array([[1.0, 0], [0.6, 0.8], [0, 1]])
    matches = search_gallery(np.array([[0.8, 0.6]]), np.array([5]), gallery, np.array([5, 5, 9]))
    assert matches.mate[0] == pytest.approx(0.96)
    assert matches.rival[0] == pytest.approx(0.6)
    assert matches.rank.tolist() == [1]


def test_a_gallery_of_one_identity_has_no_rival():
    matches = search_gallery(np.eye(2), np.array([1, 2]), np.eye(2)[:1], np.array([1]))
    assert matches.rival.tolist() == [-np.inf, 0]
    assert matches.rank.tolist() == [1, 0]
    assert np.isnan(matches.mate[1])


def test_single_precision_and_lengths_do_not_matter():
    rng = np.random.default_rng(3)
    probes, gallery = rng.normal(size=(20, 8)), rng.normal(size=(50, 8))
    identities, others = np.arange(20), np.arange(10, 60)
    double = search_gallery(probes, identities, gallery, others)
    scaled = search_gallery(
        (3 * probes).astype(np.float32), identities, (0.1 * gallery).astype(np.float16), others
    )
    np.testing.assert_allclose(double.mate, scaled.mate, atol=2e-3)
    np.testing.assert_allclose(double.rival, scaled.rival, atol=2e-3)


def test_interval_covers_the_rate_and_is_repeatable():
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(40, 16))
    identities = np.repeat(np.arange(80), 4)
    probes = np.concatenate([centres, rng.normal(size=(40, 16))])[identities]
    probes = probes + rng.normal(size=probes.shape)
    matches = search_gallery(probes, identities, centres, np.arange(40))
    first, second = (open_set(matches, identities, [0.1], seed=1)[0].tpir for _ in range(2))
    assert first == second
    assert first.interval.low < first.value < first.interval.high
    assert first.interval.over == "identities"
    assert first.interval.units == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probes": np.array([[1.0, np.nan], [1, 1]])}, "embedding 0 is not finite"),
        ({"gallery": np.array([[1.0, 1], [0, 0]])}, "embedding 1 is all zero"),
        ({"gallery": np.ones((2, 3))}, "from one network"),
        (
            {"gallery": np.ones((0, 2)), "gallery_identities": np.zeros(0, int)},
            "gallery embeddings",
        ),
        ({"probe_identities": np.array([1])}, "one integer each"),
        ({"gallery_identities": np.array(["a", "b"])}, "one integer each"),
    ],
)
def test_unusable_sets_are_refused(change, message):
    arguments = {
        "probes": np.eye(2),
        "probe_identities": np.array([1, 2]),
        "gallery": np.eye(2),
        "gallery_identities": np.array([1, 3]),
        **change,
    }
    with pytest.raises(FacedistillError, match=message):
        search_gallery(**arguments)


def test_sets_without_mated_or_non_mated_probes_are_refused():
    none_mated = search_gallery(np.eye(2), np.array([1, 2]), np.eye(2), np.array([3, 4]))
    with pytest.raises(FacedistillError, match="no rank"):
        cmc(none_mated, 5)
    with pytest.raises(FacedistillError, match="no probe is mated"):
        open_set(none_mated, np.array([1, 2]))
    all_mated = search_gallery(np.eye(2), np.array([1, 2]), np.eye(2), np.array([1, 2]))
    with pytest.raises(FacedistillError, match="no probe is non-mated"):
        open_set(all_mated, np.array([1, 2]))
    mixed = search_gallery(np.eye(2), np.array([1, 2]), np.eye(2), np.array([1, 3]))
    with pytest.raises(FacedistillError, match="above 0"):
        open_set(mixed, np.array([1, 2]), [0.0])
    with pytest.raises(FacedistillError, match="unknown rule"):
        open_set(mixed, np.array([1, 2]), rule="nist")


def test_a_real_teacher_finds_real_identities(real_data):
    faces = open_dataset(real_data / "celeba112")
    embeddings = np.load(real_data / "celeba112" / "edgeface_s_train.npy")
    _, first = np.unique(faces.labels, return_index=True)
    gallery, probes = first[:600], np.setdiff1d(np.arange(len(faces)), first)[::20]
    identities = faces.labels[probes]
    matches = search_gallery(embeddings[probes], identities, embeddings[gallery], np.arange(600))
    assert cmc(matches, 1)[0] > 0.85
    strict, loose = open_set(matches, identities, [0.01, 0.1], resamples=100)
    assert strict.fpir <= 0.01 < loose.fpir <= 0.1
    assert 0.5 < strict.tpir.value < loose.tpir.value
