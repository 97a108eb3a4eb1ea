import json

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.evaluate import open_protocol
from facedistill.evaluation.metrics.roc import area_under_curve, roc_curve, tar_at_far
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.perturbations.masked import put_on_mask
from facedistill.evaluation.protocols.all_pairs import (
    AcrossFoldsProtocol,
    AllPairsProtocol,
    report_all_pairs,
)
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.outputs import Outputs
from tests.evaluation.metrics.vectors import cosines_of_all_pairs


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def evaluate_all_pairs(network, faces, **settings):
    return AllPairsProtocol(faces).evaluate(network, EvaluationOptions(**settings))


@pytest.mark.parametrize("mask", [None, "one", "both"])
def test_masked_probes_are_compared_with_all_plain_faces_but_their_own(mask):
    faces = open_dataset("procedural:identities=4,images=3,size=24,difficulty=0.3")
    drawn = {"mask": mask, "mask_seed": 3} if mask else {}
    report = evaluate_all_pairs(pixels, faces, flip=False, fars=(0.2, 1e-4), resamples=20, **drawn)
    plain = np.stack([faces[i].image for i in range(len(faces))])
    masked = np.stack([put_on_mask(plain[i], i, 3) for i in range(len(faces))])
    vectors = {None: (plain, None), "one": (masked, plain), "both": (masked, None)}[mask]
    probes, gallery = (
        None if each is None else each.reshape(12, -1).astype(float) - 127.5 for each in vectors
    )
    pairs = cosines_of_all_pairs(probes, gallery, faces.labels)
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
    settings = {"mask": "one", "flip": False, "resamples": 0}
    one, again, other = (
        evaluate_all_pairs(pixels, faces, mask_seed=seed, **settings).comparison.scores
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
    faces = open_dataset("procedural:identities=2,images=2,size=24")
    with pytest.raises(FacedistillError, match="3 embeddings for 4 labelled images"):
        report_all_pairs(faces, np.ones((3, 3)))
    with pytest.raises(FacedistillError, match="seed -1"):
        evaluate_all_pairs(pixels, faces, mask="one", mask_seed=-1)
    tiny = open_dataset("procedural:identities=2,images=2,size=16")
    assert torch.isfinite(torch.tensor(evaluate_all_pairs(pixels, tiny, resamples=0).auc))


@pytest.fixture
def listed(tmp_path):
    """A `.bin` file of four folds, each of two identities with three images."""
    faces = open_dataset("procedural:identities=8,images=3,size=24,difficulty=0.3")
    pairs, same, folds = [], [], []
    for fold in range(4):
        for one, other in [(0, 1), (1, 2), (0, 3), (3, 4), (4, 5), (2, 5)]:
            pairs.append((6 * fold + one, 6 * fold + other))
            same.append(one // 3 == other // 3)
            folds.append(fold)
    return PairSet("listed", faces, np.array(pairs), np.array(same), np.array(folds))


def test_across_folds_all_images_are_compared(listed):
    protocol = AcrossFoldsProtocol(listed)
    report = protocol.evaluate(pixels, EvaluationOptions(flip=False, fars=(0.1,), resamples=20))
    labels = listed.faces.labels
    vectors = np.stack([listed.image(i) for i in range(24)]).reshape(24, -1) - 127.5
    pairs = [
        each
        for each in cosines_of_all_pairs(vectors, None, labels)
        if each[3] or labels[each[0]] // 2 != labels[each[1]] // 2
    ]
    whole = roc_curve(np.array([p[2] for p in pairs]), np.array([p[3] for p in pairs]))
    assert (report.genuine, report.impostors) == (8 * 3, 24 * 18 // 2)
    assert report.points[0].tar == tar_at_far(whole, 0.1).tar
    assert report.line().startswith("listed (all pairs across 4 folds): TAR@1e-1")
    assert "24 images in 4 folds" in report.line()
    assert (report.to_dict()["folds"], report.to_dict()["people"]) == (4, None)
    assert report.intervals["1e-1"].over == "identities"


def test_across_folds_stored_embeddings_lie_as_in_the_file(listed):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(24, 5))
    options = EvaluationOptions(resamples=0)
    by_image, by_pair = (
        AcrossFoldsProtocol(listed).evaluate(StoredEmbeddings("a.npy", rows), options)
        for rows in (images, images[listed.pairs.ravel()])
    )
    np.testing.assert_array_equal(by_image.comparison.scores, by_pair.comparison.scores)
    with pytest.raises(FacedistillError, match="which do not fit listed"):
        AcrossFoldsProtocol(listed).evaluate(StoredEmbeddings("a.npy", images[:-1]), options)


def test_a_bin_file_is_compared_across_its_tenths(tmp_path):
    faces = open_dataset("procedural:identities=20,images=2,size=24")
    pairs = np.arange(40).reshape(20, 2)
    write_bin(PairSet("drawn", faces, pairs, np.ones(20, bool)), tmp_path / "drawn.bin")
    protocol = open_protocol(tmp_path / "drawn.bin", all_pairs=True)
    report = protocol.evaluate(pixels, EvaluationOptions(resamples=0))
    assert (report.genuine, report.impostors) == (20, 40 * 36 // 2)
    assert [point.target for point in report.points] == [1e-2, 1e-3, 1e-4, 1e-5]


def test_a_list_of_pairs_is_no_data_set_and_the_remedies_are_named(tmp_path):
    (tmp_path / "pairs.csv").write_text("left,right,same\na.png,b.png,1\na.png,c.png,0\n")
    remedies = rf"leave out --all-pairs, or give {tmp_path}:pairs\.csv"
    with pytest.raises(FacedistillError, match=remedies):
        AllPairsProtocol.open(tmp_path / "pairs.csv")
