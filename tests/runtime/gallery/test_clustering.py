import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery import clustering
from facedistill.runtime.gallery.clustering import cluster_faces
from tests.runtime.gallery.unit_vectors import near, unit_vectors


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_clusters_are_those_of_average_linkage(threshold, monkeypatch):
    monkeypatch.setattr(clustering, "_BLOCK", 50)
    faces = near(np.repeat(unit_vectors(40), 5, axis=0), 0.9)
    found = cluster_faces(faces, threshold)
    tree = linkage(faces.astype(np.float64), "average", metric="cosine")
    expected = fcluster(tree, 1 - threshold, "distance")
    pairs = found[:, None] == found
    np.testing.assert_array_equal(pairs, expected[:, None] == expected)
    assert (np.diff(np.bincount(found)) <= 0).all()


def test_copies_of_faces_are_one_cluster_each():
    faces = np.tile(unit_vectors(3), (7, 1))
    assert cluster_faces(faces, 0.9).tolist() == [0, 1, 2] * 7


def test_equals_that_rounding_makes_wait_for_each_other_are_joined(monkeypatch):
    ring = {3: ([1, 2, 0], [1.0, 1.0, 1.0]), 2: ([1, 0], [0.5, 0.5])}
    monkeypatch.setattr(
        clustering, "_nearest", lambda means: tuple(map(np.array, ring[len(means)]))
    )
    assert cluster_faces(unit_vectors(3), 0.9).tolist() == [0, 0, 1]


def test_no_face_and_one_face_are_clusters():
    assert cluster_faces(unit_vectors(0), 0.5).tolist() == []
    assert cluster_faces(unit_vectors(1), 0.5).tolist() == [0]
    with pytest.raises(FacedistillError, match="give \\(N, D\\)"):
        cluster_faces(unit_vectors(1)[0], 0.5)
