import json

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.perturbations.masked import MaskedPairs
from facedistill.faces.masks.face_mask import render_mask
from facedistill.faces.masks.mask_parameters import MaskParameters
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.evaluation.pair_evaluation import evaluate_pairs

PAIRS = np.array([[0, 1], [2, 0], [1, 3], [4, 5]])
SAME = np.array([True, False, False, True])


def drawn(side=48, pairs=PAIRS, same=SAME):
    faces = ProceduralDataset(3, 2, size=side, difficulty=0.2)
    return PairSet("drawn", faces, pairs, same, folds=np.array([0, 1, 0, 1]))


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def naive(pairs, masked, seed):
    """Images of each pair by the definition."""
    for left, right in pairs.pairs:
        images = [pairs.image(left), pairs.image(right)]
        for side in (0, 1) if masked == "both" else (1,):
            rng = np.random.default_rng((seed, (left, right)[side]))
            images[side] = render_mask(images[side], MaskParameters.draw(rng))
        yield images


@pytest.mark.parametrize("masked", ["one", "both"])
@pytest.mark.parametrize("seed", [0, 5])
def test_images_of_each_pair_are_those_of_the_definition(masked, seed):
    plain = drawn()
    pairs = MaskedPairs(plain, masked, seed)
    for (left, right), expected in zip(pairs.pairs, naive(plain, masked, seed), strict=True):
        np.testing.assert_array_equal(pairs.image(left), expected[0])
        np.testing.assert_array_equal(pairs.image(right), expected[1])
        identities = pairs.identities
        assert (identities[left] == identities[right]) == (left // 2 % 3 == right // 2 % 3)


def test_an_image_is_plain_as_the_first_and_masked_as_the_second():
    # Image 0 is the first of pair 0 and the second of pair 1.
    pairs = MaskedPairs(drawn(), "one")
    (first, _), (_, second) = pairs.pairs[:2]
    np.testing.assert_array_equal(pairs.image(first), drawn().image(0))
    assert (pairs.image(second) != drawn().image(0)).any()
    pairs = MaskedPairs(drawn(), "both")
    assert pairs.pairs[0, 0] == pairs.pairs[1, 1]


def test_masks_differ_between_images_and_seeds_and_repeat_themselves():
    gray = np.full((64, 64, 3), 120, np.uint8)

    class Alike:
        name, folds, identities = "alike", None, None
        pairs, same = PAIRS, SAME

        def __len__(self):
            return 6

        def image(self, index):
            return gray

    def masked_images(seed):
        pairs = MaskedPairs(Alike(), "both", seed)
        assert pairs.identities is None
        return [pairs.image(index).tobytes() for index in np.unique(pairs.pairs)]

    assert masked_images(3) == masked_images(3)
    assert len(set(masked_images(3)) | set(masked_images(4))) == 12


@pytest.mark.parametrize("masked", ["one", "both"])
def test_scores_are_those_of_the_masked_images(masked):
    report = evaluate_pairs(
        pixels, drawn(), fars=(0.5, 1e-4), resamples=0, flip=False, mask=masked, mask_seed=2
    )
    for score, images in zip(report.scores, naive(drawn(), masked, 2), strict=True):
        left, right = (image.astype(float).ravel() - 127.5 for image in images)
        cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
        assert score == pytest.approx(cosine, abs=1e-6)


def test_figures_name_the_masked_images():
    words = {
        None: "drawn: ",
        "one": "drawn (second image masked): ",
        "both": "drawn (both images masked): ",
    }
    for masked, start in words.items():
        report = evaluate_pairs(pixels, drawn(), fars=(1e-4,), resamples=0, mask=masked)
        assert report.line().startswith(start)
        assert "TAR@1e-4 not measurable" in report.line()
        document = json.loads(json.dumps(report.to_dict()))
        assert document["masked"] == masked
        assert "needs 10,000 impostor pairs" in document["tar_at_far"]["1e-4"]["reason"]


def test_what_cannot_be_masked_is_refused():
    with pytest.raises(FacedistillError, match="mask 'two' of pairs: take one or both"):
        evaluate_pairs(pixels, drawn(), mask="two")
    with pytest.raises(FacedistillError, match="seed -1"):
        evaluate_pairs(pixels, drawn(), mask="one", mask_seed=-1)

    class Tiny(PairSet):
        def image(self, index):
            return super().image(index)[:8, :8]

    plain = drawn()
    tiny = Tiny("tiny", plain.faces, plain.pairs, plain.same)
    with pytest.raises(FacedistillError, match=r"tiny image 0: .* too small for a mask"):
        evaluate_pairs(pixels, tiny, mask="one", resamples=0, folds=2, workers=1)


def test_a_pair_and_its_reverse_are_still_refused():
    pairs = drawn(pairs=np.array([[0, 1], [1, 0], [1, 3], [4, 5]]))
    with pytest.raises(FacedistillError, match="images 0 and 1 is listed 2 times"):
        evaluate_pairs(pixels, pairs, mask="one")


def test_masks_cost_a_real_teacher_similarity_on_real_faces(real_data):
    every = open_pairs(real_data / "celeba112" / "celeba_test.bin")
    some = np.arange(0, len(every.same), 100)
    pairs = PairSet("some", every.faces, every.pairs[some], every.same[some])
    teacher = OnnxNetwork(real_data / "teacher" / "edgeface_s_int8.onnx", input=InputSpec())
    plain, one, both = (
        evaluate_pairs(teacher, pairs, resamples=0, flip=False, mask=masked)
        for masked in (None, "one", "both")
    )
    assert min(plain.auc.value, one.auc.value, both.auc.value) > 0.6
    # A mask hides half of what two images of one identity share. So few pairs, nearly all of them
    # told apart, show it in their similarities and not in the area under the curve.
    assert one.scores[one.same].mean() < plain.scores[plain.same].mean() - 0.1
