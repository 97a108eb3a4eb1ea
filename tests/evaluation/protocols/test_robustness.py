import json

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.evaluate import evaluate
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.perturbations.altered import AlteredPairs
from facedistill.evaluation.perturbations.masked import put_on_mask
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.protocols.robustness import conditions, robustness
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.outputs import Outputs
from tests.evaluation.pair_evaluation import evaluate_pairs

FOLDS = np.array([0, 1, 0, 1])
SETTINGS = {"fars": (0.5,), "resamples": 0, "flip": False}


def drawn(size=72):
    pairs = np.array([[0, 1], [2, 0], [1, 3], [4, 5]])
    faces = ProceduralDataset(3, 2, size=size, difficulty=0.2)
    return PairSet("drawn", faces, pairs, np.array([True, False, False, True]), folds=FOLDS)


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def measured(which, pairset=None, **settings):
    pairset = pairset or drawn()
    settings = {**SETTINGS, **settings}
    plain = evaluate_pairs(pixels, pairset, **settings)
    options = EvaluationOptions(robustness=which, mask_seed=4, **settings)
    return robustness(pixels, pairset, plain, options)


def altered(name, image, index):
    """Each condition, written out anew."""
    if name.endswith("px"):
        side = int(name.split()[0])
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if name == "masked":
        return put_on_mask(image, index, 4)
    if name == "blurred":
        return cv2.GaussianBlur(image, (0, 0), 0.025 * image.shape[0])
    assert name == "JPEG"
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("which", ["one", "both"])
def test_scores_are_those_of_the_altered_images(which):
    pairs, report = drawn(), measured(which)
    names = [row.name for row in report.rows]
    assert names == ["as they are", "64 px", "32 px", "24 px", "16 px", "masked", "blurred", "JPEG"]
    for row in report.rows[1:]:
        for score, (left, right) in zip(row.report.scores, pairs.pairs, strict=True):
            images = [pairs.image(left), pairs.image(right)]
            for side in (0, 1) if which == "both" else (1,):
                images[side] = altered(row.name, images[side], (left, right)[side])
            a, b = (image.astype(float).ravel() - 127.5 for image in images)
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert score == pytest.approx(cosine, abs=1e-5), row.name


def test_every_condition_changes_an_image_and_keeps_its_size():
    image = drawn().image(0)
    altered = [condition.alter(image, 0) for condition in conditions(0)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in altered)
    assert len({one.tobytes() for one in [image, *altered]}) == len(altered) + 1
    harder = [np.abs(one.astype(int) - image).mean() for one in altered[:4]]
    assert harder == sorted(harder)
    wide = np.ascontiguousarray(image[:48])
    assert all(condition.alter(wide, 0).shape == wide.shape for condition in conditions(0))


def test_sides_no_smaller_than_the_images_are_left_out_and_named():
    report = measured("both", drawn(size=32))
    assert report.left_out == ["64 px", "32 px"]
    assert "left out 64 px, 32 px" in report.line()
    assert report.to_dict()["left_out"] == ["64 px", "32 px"]
    assert report.line().startswith("drawn, both images 24 px: accuracy")
    assert "second image 24 px" in measured("one", drawn(size=32)).line()


def test_loss_is_against_the_pairs_as_they_are():
    report = measured("both", resamples=40)
    assert report.rows[0].loss is None
    for row in report.rows[1:]:
        plain, altered = report.rows[0].report.result, row.report.result
        assert row.loss.difference == pytest.approx(altered.accuracy - plain.accuracy)
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["conditions"][1]["loss"]["pairs"] == 4
    assert "against the pairs as they are" in report.line()


def test_the_table_is_part_of_an_evaluation_of_pairs():
    done = evaluate(pixels, PairProtocol(drawn()), EvaluationOptions(robustness="both", **SETTINGS))
    assert done.line().count("\n") == 8
    assert len(done.to_dict()["robustness"]["conditions"]) == 8
    with pytest.raises(FacedistillError, match="a mask is one condition"):
        evaluate(pixels, PairProtocol(drawn()), EvaluationOptions(robustness="both", mask="one"))
    stored = StoredEmbeddings("a.npy", np.eye(6) + 0.1)
    with pytest.raises(FacedistillError, match="these are embeddings"):
        evaluate(stored, PairProtocol(drawn()), EvaluationOptions(robustness="both", **SETTINGS))
    with pytest.raises(FacedistillError, match="take one or both"):
        measured("two")
    with pytest.raises(FacedistillError, match="take one or both"):
        AlteredPairs(drawn(), lambda image, index: image, "two")
    with pytest.raises(FacedistillError, match="seed -2"):
        EvaluationOptions(robustness="one", mask_seed=-2)
