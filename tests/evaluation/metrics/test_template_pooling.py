import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics import template_pooling as module
from facedistill.evaluation.metrics.template_pooling import (
    VARIANTS,
    Variant,
    parse_variants,
    pool_templates,
    row_similarities,
    template_rows,
)
from tests.evaluation.protocols.ijb_by_hand import face_features, pooled


@st.composite
def faces(draw):
    count = draw(st.integers(1, 30))
    ids = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    media = draw(st.lists(st.integers(-2, 4), min_size=count, max_size=count))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    plain, flipped = rng.normal(size=(2, count, 5))
    return plain, flipped, rng.uniform(0.1, 1, count), np.array(ids) * 1000, np.array(media)


@settings(max_examples=40, deadline=None)
@given(faces(), st.sampled_from(VARIANTS), st.sampled_from([3, 1000]))
def test_pooling_is_the_loop_over_templates_and_media(case, variant, rows_at_once):
    plain, flipped, scores, ids, media = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS_AT_ONCE", rows_at_once)
        result = pool_templates(
            plain, ids, media, variant=variant, flipped=flipped, detector_scores=scores
        )
    features = face_features(plain, flipped, scores, variant.norm, variant.detector, variant.flip)
    expected_ids, expected = pooled(features, ids, media)
    assert result.ids.tolist() == expected_ids.tolist()
    np.testing.assert_allclose(result.embeddings, expected, atol=1e-12)


def test_variants_differ_and_have_names():
    rng = np.random.default_rng(0)
    plain, flipped = rng.normal(size=(2, 6, 4))
    scores, ids, media = rng.uniform(0.1, 1, 6), np.zeros(6, int), np.arange(6)
    seen = {
        variant.name: pool_templates(
            plain, ids, media, variant=variant, flipped=flipped, detector_scores=scores
        ).embeddings.tobytes()
        for variant in VARIANTS
    }
    assert len(set(seen.values())) == len(seen) == 8
    assert all(Variant.parse(name).name == name for name in seen)
    assert parse_variants(["n0d1f0"]) == (Variant(False, True, False),)
    assert parse_variants(["N0D1F0", "all"]) == VARIANTS
    with pytest.raises(FacedistillError, match="write N1D1F1"):
        parse_variants(["N1D1F1", "N2D0F1"])


def test_half_precision_embeddings_are_pooled_in_double():
    rng = np.random.default_rng(1)
    halves = rng.normal(size=(40, 8)).astype(np.float16)
    ids, media = np.arange(40) % 3, np.arange(40) % 7
    plain = Variant(True, False, False)
    np.testing.assert_allclose(
        pool_templates(halves, ids, media, variant=plain).embeddings,
        pooled(halves.astype(np.float64), ids, media)[1],
        atol=1e-12,
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([0, 32, 10**9]))
def test_similarities_do_not_depend_on_blocks_and_precision(seed, count, worth):
    rng = np.random.default_rng(seed)
    units = rng.normal(size=(12, 6))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    pairs = rng.integers(0, 12, (count, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORTH_A_MATRIX", worth)
        patch.setattr(module, "_CELLS_AT_ONCE", 30)
        scores = row_similarities(units, pairs)
    expected = [units[a] @ units[b] for a, b in pairs]
    np.testing.assert_allclose(scores, expected, atol=1e-12)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=20, unique=True), st.data())
def test_rows_are_found_whatever_the_ids(ids, data):
    known = np.sort(np.array(ids))
    wanted = np.array(data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=10)))
    assert (known[template_rows(known, wanted, "pairs")] == wanted).all()
    absent = data.draw(st.integers(-(10**12), 10**12).filter(lambda value: value not in ids))
    with pytest.raises(FacedistillError, match=f"pairs: template {absent} has no media"):
        template_rows(known, np.append(wanted, absent), "pairs")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.ones((3, 2))}, "4 faces"),
        ({"embeddings": np.ones(4)}, "one row per face"),
        ({"embeddings": np.array([[1.0, 2], [1, 2], [np.nan, 1], [1, 1]])}, "face 2 is not finite"),
        ({"embeddings": np.array([[1.0, 2], [0, 0], [1, 1], [1, 1]])}, "face 1 is all zero"),
        ({"embeddings": np.array([[1.0, 2], [-1, -2], [1, 1], [1, 1]])}, "template 7 cancel"),
        ({"media": np.zeros(3, int)}, "3 media"),
        ({"variant": Variant(True, True, False)}, "take N1D0F0"),
        ({"variant": Variant(False, False, True)}, "take N0D0F0"),
        ({"variant": Variant(True, False, True), "flipped": np.ones((4, 3))}, "mirrored"),
        (
            {"variant": Variant(True, True, False), "detector_scores": np.array([1, 1, -1, 1.0])},
            "score of face 2",
        ),
        ({"variant": Variant(True, True, False), "detector_scores": np.ones(3)}, "score of face 0"),
    ],
)
def test_unusable_faces_are_refused(change, message):
    arguments = {
        "embeddings": np.array([[1.0, 0], [0, 1], [1, 1], [2, 1]]),
        "templates": np.array([7, 7, 9, 9]),
        "media": np.array([0, 1, 0, 0]),
        "variant": Variant(True, False, False),
        **change,
    }
    with pytest.raises(FacedistillError, match=message):
        pool_templates(**arguments)
