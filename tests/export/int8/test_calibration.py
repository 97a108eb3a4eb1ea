import numpy as np

from facedistill.export.int8.calibration import extents, observe
from tests.export.int8.graphs import Builder, compute, images


def test_what_is_seen_is_what_the_graph_computes():
    build = Builder(3, 5, 5)
    value = build.conv("x", 4, 3)
    graph = build.graph(value)
    faces = images(11, 3, 5, 5)
    wanted = compute(graph, faces)
    seen = observe(graph, [value, "x"], faces, "")
    for name, values in ((value, wanted), ("x", faces)):
        # The last batch is smaller, and counts by its faces.
        np.testing.assert_allclose(seen[name].mean, values.mean(axis=(0, 2, 3)), atol=1e-5)
        assert len(seen[name].samples) == len(faces)
        for samples, face in zip(seen[name].samples, values, strict=True):
            assert np.abs(samples[:, None] - face.reshape(-1)).min(axis=1).max() < 1e-5
            np.testing.assert_allclose(samples.min(), face.min(), rtol=1e-5)
            np.testing.assert_allclose(samples.max(), face.max(), rtol=1e-5)


def test_vectors_are_one_place_a_channel():
    build = Builder(2, 2, 2)
    flat = build.flat("x", 8)
    graph = build.graph(flat, rank=2)
    faces = images(6, 2, 2, 2)
    seen = observe(graph, [flat], faces, "")[flat]
    np.testing.assert_allclose(seen.mean, faces.reshape(6, 8).mean(axis=0), atol=1e-6)


def test_extents_leave_out_one_element_in_two_thousand_at_either_end():
    build = Builder(2, 40, 50)
    value = build.node("Abs", "x")
    graph = build.graph(value)
    faces = images(12, 2, 40, 50)  # three batches of 8,000 elements a channel
    seen = extents(graph, ["x", value], faces, "")
    batches = [np.moveaxis(faces[start : start + 4], 1, 0).reshape(2, -1) for start in (0, 4, 8)]
    ordered = np.sort(batches, axis=2)
    np.testing.assert_allclose(seen["x"].low, np.median(ordered[..., 4], axis=0))
    np.testing.assert_allclose(seen["x"].high, np.median(ordered[..., -5], axis=0))
    np.testing.assert_array_equal(seen[value].low, 0)
