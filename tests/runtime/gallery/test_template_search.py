import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery import template_search
from facedistill.runtime.gallery.int8_product import Int8Product
from facedistill.runtime.gallery.stored_templates import StoredTemplates, row_bytes
from facedistill.runtime.gallery.template_search import TemplateSearch
from tests.runtime.gallery.unit_vectors import near, unit_vectors


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_rows_are_read_as_they_were_written(precision):
    embeddings = unit_vectors(5)
    stored = StoredTemplates.of(embeddings, precision)
    rows = np.frombuffer(b"".join(stored.rows()), np.uint8).reshape(5, -1)
    assert rows.shape[1] == row_bytes(32, precision)
    again = StoredTemplates.from_rows(rows, precision)
    again.check("here")
    np.testing.assert_array_equal(again.embeddings(), stored.embeddings())
    assert (again.embeddings() * embeddings).sum(axis=1).min() > 0.9997


@pytest.mark.parametrize("value", [np.nan, 2.0])
def test_embeddings_that_are_not_of_length_one_are_damaged(value):
    rows = unit_vectors(3).astype(np.float16)
    rows[1, 0] = value
    with pytest.raises(FacedistillError, match="here is damaged"):
        StoredTemplates(rows).check("here")


def test_products_of_integers_are_exact_at_their_limits():
    rows = np.random.default_rng(0).integers(-127, 128, (40, 70), dtype=np.int8)
    rows[0], rows[1] = 127, -127
    probes = rows[:3].copy()
    expected = probes.astype(np.int64) @ rows.T.astype(np.int64)
    np.testing.assert_array_equal(Int8Product(rows, 1)(probes), expected)


@pytest.mark.parametrize("count", [1, 3, 200])
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_nearest_is_what_sorting_all_scores_gives(precision, count, monkeypatch):
    monkeypatch.setattr(template_search, "BLOCK", 16)
    stored = StoredTemplates.of(unit_vectors(70), precision)
    probes = near(unit_vectors(9), 0.3)
    search = TemplateSearch(StoredTemplates.of(unit_vectors(70)[:50], precision))
    search.add(StoredTemplates.of(unit_vectors(70)[50:], precision))
    numbers, cosines = search.nearest(probes, count)
    asked = probes if precision == "float16" else StoredTemplates.of(probes, "int8").embeddings()
    scores = asked @ stored.embeddings().T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_allclose(cosines, np.take_along_axis(scores, order, 1), atol=1e-5)


def test_of_equals_the_first_is_nearest(monkeypatch):
    monkeypatch.setattr(template_search, "BLOCK", 2)
    same = np.repeat(unit_vectors(1), 6, axis=0)
    search = TemplateSearch(StoredTemplates.of(same, "float16"))
    assert search.nearest(same[:1], 1)[0].tolist() == [[0]]
    assert search.nearest(same[:1], 4)[0].tolist() == [[0, 1, 2, 3]]


def test_an_empty_gallery_is_searched_and_finds_nothing():
    search = TemplateSearch(StoredTemplates.of(unit_vectors(0), "float16"))
    assert search.nearest(unit_vectors(2), 3)[0].shape == (2, 0)


def test_probes_of_another_network_are_refused():
    search = TemplateSearch(StoredTemplates.of(unit_vectors(2), "float16"))
    with pytest.raises(FacedistillError, match="both must come from one network"):
        search.nearest(unit_vectors(2, dimension=8))
    with pytest.raises(FacedistillError, match="ask for at least 1"):
        search.nearest(unit_vectors(2), 0)
