import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.evaluation.metrics import exhaustive as module
from facedistill.evaluation.metrics.exhaustive import compare_all
from facedistill.evaluation.metrics.roc import area_under_curve, roc_curve, tar_at_far
from facedistill.evaluation.metrics.score_histogram import count_scores
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.perturbations.masked import put_on_mask
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol, report_all_pairs
from facedistill.models.outputs import Outputs
from tests.evaluation.metrics.test_identification import EXACT


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def evaluate_all_pairs(network, faces, **settings):
    return AllPairsProtocol(faces).evaluate(network, EvaluationOptions(**settings))


def naive(probes, gallery, people):
    """Every pair by itself: ordered where probes and gallery differ, else once."""
    found = []
    for i in range(len(people)):
        for j in range(len(people)):
            if i == j or (gallery is None and j < i):
                continue
            other = probes if gallery is None else gallery
            cosine = probes[i] @ other[j] / np.linalg.norm(probes[i]) / np.linalg.norm(other[j])
            found.append((i, j, cosine, people[i] == people[j]))
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.sampled_from([3, 4, 1024]))
def test_the_curve_is_that_of_all_pairs_written_out(seed, tied, both, block):
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 5, 21)
    people[:3] = 0, 0, 1

    def embeddings():
        # Vectors whose cosines are exact in any order of addition, so that ties are ties.
        return EXACT[rng.integers(len(EXACT), size=21)] if tied else rng.normal(size=(21, 6))

    probes = embeddings()
    gallery = embeddings() if both else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", block)
        patch.setattr(module, "_COLUMNS", 2 * block)
        found = compare_all(probes, gallery, people)
    pairs = naive(probes, gallery, people)
    scores = np.array([cosine for _, _, cosine, _ in pairs])
    same = np.array([genuine for _, _, _, genuine in pairs])
    if tied:
        scores = np.round(scores, 9)
    whole = roc_curve(scores, same)
    assert (found.curve.genuine, found.curve.impostors) == (same.sum(), (~same).sum())
    assert area_under_curve(found.curve) == area_under_curve(whole)
    for far in (0.5, 0.1, 0.03, 0.01, 1e-4):
        ours, theirs = tar_at_far(found.curve, far), tar_at_far(whole, far)
        assert (ours.tar, ours.far, ours.reason) == (theirs.tar, theirs.far, theirs.reason)
        if ours.threshold is not None:
            assert ours.threshold == pytest.approx(theirs.threshold, abs=1e-9)
    counted = count_scores(scores, same)
    if tied:
        np.testing.assert_array_equal(found.counts.impostors, counted.impostors)
        np.testing.assert_array_equal(found.counts.genuine, counted.genuine)
    assert found.counts.impostors.sum() == (~same).sum()
    highest = np.sort(scores[~same])[::-1][: module.HARDEST]
    np.testing.assert_allclose([pair.score for pair in found.closest], highest, atol=1e-9)
    by_images = {(i, j): cosine for i, j, cosine, _ in pairs}
    for pair in found.closest:
        assert by_images[pair.probe, pair.gallery] == pytest.approx(pair.score, abs=1e-9)
        assert people[pair.probe] != people[pair.gallery]


@pytest.mark.parametrize("mask", [None, "one", "both"])
def test_masked_probes_meet_plain_faces_of_everybody_but_never_themselves(mask):
    faces = open_dataset("procedural:identities=4,images=3,size=24,difficulty=0.3")
    report = evaluate_all_pairs(
        pixels, faces, mask=mask, mask_seed=3, flip=False, fars=(0.2, 1e-4), resamples=20
    )
    plain = np.stack([faces[i].image for i in range(len(faces))])
    worn = np.stack([put_on_mask(plain[i], i, 3) for i in range(len(faces))])
    vectors = {None: (plain, None), "one": (worn, plain), "both": (worn, None)}[mask]
    probes, gallery = (
        None if each is None else each.reshape(12, -1).astype(float) - 127.5 for each in vectors
    )
    pairs = naive(probes, gallery, faces.labels)
    assert report.genuine + report.impostors == (12 * 11 if mask == "one" else 12 * 11 // 2)
    whole = roc_curve(np.array([p[2] for p in pairs]), np.array([p[3] for p in pairs]))
    assert report.points[0].tar == tar_at_far(whole, 0.2).tar
    assert report.auc == pytest.approx(area_under_curve(whole), abs=1e-3)
    farthest = report.farthest()
    assert farthest[0].score == pytest.approx(min(p[2] for p in pairs if p[3]), abs=1e-5)
    assert all(faces.labels[p.probe] == faces.labels[p.gallery] for p in farthest)
    # Fewer impostors than 1 / FAR: no number, and a reason.
    assert f"FAR 1e-4 needs 10,000 impostor pairs, there are {report.impostors}" in report.line()
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["masked"] == mask
    assert document["tar_at_far"]["2e-1"]["interval"]["over"] == "identities"
    assert document["tar_at_far"]["1e-4"]["tar"] is None


def test_masks_repeat_by_seed():
    faces = open_dataset("procedural:identities=3,images=2,size=24")
    settings_ = {"mask": "one", "flip": False, "resamples": 0}
    one, again, other = (
        evaluate_all_pairs(pixels, faces, mask_seed=seed, **settings_).comparison.scores
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_unlabelled_images_are_left_out_and_indices_stay_those_of_the_set():
    class Faces:
        name = "some"
        labels = np.array([-1, 0, 0, -1, 1, 1])

    rng = np.random.default_rng(0)
    report = report_all_pairs(Faces(), rng.normal(size=(4, 3)), fars=(0.5,), resamples=0)
    assert (report.images, report.identities) == (4, 2)
    assert {p.probe for p in report.farthest()} == {1, 4}
    assert {(p.probe, p.gallery) for p in report.comparison.closest} == {
        (1, 4), (1, 5), (2, 4), (2, 5),
    }  # fmt: skip


def test_what_gives_no_pairs_is_refused():
    for spec in ("procedural:identities=1,images=4", "procedural:identities=4,images=1"):
        with pytest.raises(FacedistillError, match="give no pairs of both kinds"):
            evaluate_all_pairs(pixels, open_dataset(spec))
    people = np.array([0, 0, 1])
    with pytest.raises(FacedistillError, match="one identity each"):
        compare_all(np.ones((2, 3)), None, people)
    with pytest.raises(FacedistillError, match="both must hold the same images"):
        compare_all(np.ones((3, 3)), np.ones((3, 4)), people)
    with pytest.raises(FacedistillError, match="embedding 1 is not finite"):
        compare_all(np.array([[1.0], [np.nan], [1.0]]), None, people)
    faces = open_dataset("procedural:identities=2,images=2,size=24")
    with pytest.raises(FacedistillError, match="3 embeddings for 4 labelled images"):
        report_all_pairs(faces, np.ones((3, 3)))
    with pytest.raises(FacedistillError, match="seed -1"):
        evaluate_all_pairs(pixels, faces, mask="one", mask_seed=-1)
    tiny = open_dataset("procedural:identities=2,images=2,size=16")
    assert torch.isfinite(torch.tensor(evaluate_all_pairs(pixels, tiny, resamples=0).auc))
