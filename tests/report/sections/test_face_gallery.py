import json

import numpy as np

from facedistill.evaluation.perturbations.masked import MaskedPairs, put_on_mask
from facedistill.report.page import face_uri
from facedistill.report.sections.face_gallery import PAIRS_SHOWN


def shown(everything, name):
    """The JSON of one evaluation's hardest pairs, false accepts and false rejects."""
    done, out, _ = everything
    document = json.loads((out / "report.json").read_text())
    hardest = dict(zip(done, document["evaluations"], strict=True))[name]["hardest"]
    assert list(hardest) == ["Hardest false accepts", "Hardest false rejects"]
    return hardest.values(), (out / "report.html").read_text()


def test_the_hardest_pairs_are_shown_as_they_were_measured(everything):
    evaluation, protocol = everything[0]["masked"]
    pairs = protocol.pairset
    report, masked = evaluation.report, MaskedPairs(pairs, "one", 5)
    (accepts, rejects), page = shown(everything, "masked")
    threshold = np.median(report.result.cosine_thresholds)
    for same, listed in ((False, accepts), (True, rejects)):
        own = np.flatnonzero(report.same == same)
        order = own[np.argsort(report.scores[own] * (1 if same else -1), kind="stable")]
        assert [pair["score"] for pair in listed] == report.scores[order][:PAIRS_SHOWN].tolist()
        wrong = (report.scores[own] >= threshold) != same
        assert f" {wrong.sum()} of the {'genuine' if same else 'impostor'} pairs" in page
        for pair, number in zip(listed[:2], order, strict=False):
            assert pair["wrong"] == ((pair["score"] >= threshold) != same)
            assert pair["images"] == [str(image) for image in pairs.pairs[number]]
            assert all(face_uri(masked.image(side)) in page for side in masked.pairs[number])


def test_all_pairs_show_the_probe_masked(everything):
    evaluation, whole = everything[0]["all"]
    (accepts, rejects), page = shown(everything, "all")
    closest = evaluation.report.comparison.closest
    assert [pair["score"] for pair in accepts] == [pair.score for pair in closest[:PAIRS_SHOWN]]
    assert rejects[0]["score"] == evaluation.report.comparison.scores.min()
    probe = put_on_mask(whole.faces[closest[0].probe].image, closest[0].probe, 5)
    assert face_uri(probe) in page
    assert face_uri(whole.faces[closest[0].gallery].image) in page
