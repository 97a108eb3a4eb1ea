import json

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.pairs.group_table import read_groups
from facedistill.evaluation.evaluate import (
    check_saves_thresholds,
    open_protocol,
    save_decision_thresholds,
)
from facedistill.evaluation.evaluate import evaluate as measure
from facedistill.evaluation.metrics.template_pooling import Variant
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols import all_pairs
from facedistill.evaluation.protocols import distractors as module
from facedistill.evaluation.protocols.distractors import DistractorProtocol, distractor_rates
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.outputs import Outputs
from tests.data.formats.ijb_folder import write_ijb

FACES = "procedural:identities=24,images=4,size=16"


def evaluate(embedder, protocol, against=None, **settings):
    return measure(embedder, protocol, EvaluationOptions(**settings), against=against)


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def noisy(images, needs):
    generator = torch.Generator().manual_seed(int(images.long().sum()))
    clean = pixels(images, needs).embedding
    return Outputs(embedding=clean + 60 * torch.randn(clean.shape, generator=generator))


def test_pairs_have_figures_difference_and_groups(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text(
        "identity,parity,half\n" + "".join(f"{i},{i % 2},{i // 12}\n" for i in range(24))
    )
    done = evaluate(
        pixels,
        open_protocol(FACES),
        against=noisy,
        groups=read_groups(table),
        group_far=0.2,
        resamples=50,
    )
    first, health, second, third, fourth = done.line().splitlines()
    assert first.startswith("procedural:") or "accuracy" in first
    assert "embeddings: mean of unit length" in health
    assert "difference: accuracy" in second
    assert "by parity at cosine" in third
    assert "by half at cosine" in fourth
    document = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert [groups["attribute"] for groups in document["fairness"]] == ["parity", "half"]
    assert document["difference"]["accuracy"]["pairs"] == document["genuine"] * 2
    plain = evaluate(pixels, open_protocol(FACES), resamples=0)
    assert set(document) - set(plain.to_dict()) == {"difference", "fairness"}


def test_stored_embeddings_of_a_folder_use_all_that_is_known(tmp_path):
    wrote = write_ijb(tmp_path)
    rng = np.random.default_rng(0)
    plain, flipped = (
        rng.normal(size=(2, len(wrote["identities"]), 6)) + 3 * np.eye(12, 6)[wrote["identities"]]
    )
    files = open_protocol(tmp_path)
    both = StoredEmbeddings("emb.npy", plain, flipped)
    one = StoredEmbeddings("emb.npy", plain)
    assert [
        evaluate(stored, files, resamples=0).report.verification[0].variant.name
        for stored in (both, one)
    ] == ["N1D1F1", "N1D1F0"]
    (tmp_path / "meta" / "ijbc_name_5pts_score.txt").unlink()
    report = evaluate(both, open_protocol(tmp_path / "meta"), resamples=0, fars=[0.1]).report
    assert report.verification[0].variant == Variant(detector=False)
    assert [point.target for point in report.verification[0].points] == [0.1]


def test_a_network_embeds_mirrored_faces_only_where_a_variant_wants_them(tmp_path, monkeypatch):
    write_ijb(tmp_path)
    protocol = open_protocol(tmp_path)
    files = protocol.files
    faces = np.random.default_rng(2).integers(0, 256, (len(files), 4, 4, 3), dtype=np.uint8)
    monkeypatch.setattr(type(files), "face", lambda self, index: faces[index])
    seen = []

    def network(images, needs):
        seen.append(len(images))
        return pixels(images, needs)

    evaluate(network, protocol, variants=[Variant(flip=False)], resamples=0)
    assert sum(seen) == len(files)
    report = evaluate(network, protocol, resamples=0).report
    assert sum(seen) == 3 * len(files)
    assert report.identification[0].variant.name == "N1D1F1"


def test_what_a_protocol_has_not_is_refused(tmp_path):
    write_ijb(tmp_path)
    with pytest.raises(FacedistillError, match="not for IJB templates: --against; leave that out"):
        evaluate(pixels, open_protocol(tmp_path), against=noisy)
    with pytest.raises(FacedistillError, match="not for pairs of images: --variant"):
        evaluate(pixels, open_protocol(FACES), variants=[Variant()])
    with pytest.raises(FacedistillError, match=r"give a \.bin file"):
        open_protocol(tmp_path / "nothing")
    with pytest.raises(FacedistillError, match="masks are drawn on images"):
        evaluate(StoredEmbeddings("emb.npy", np.ones((96, 4))), open_protocol(FACES), mask="one")


def test_thresholds_are_saved_only_as_faces_are_compared(tmp_path):
    pairs = open_protocol(FACES)
    plain, both = (evaluate(pixels, pairs, flip=flip, resamples=0) for flip in (False, True))
    masked = evaluate(pixels, pairs, mask="both", resamples=0)
    for model, done in [
        ("a.onnx", [plain]),
        ("a.onnx", [both, both]),
        ("a.onnx", [masked]),
        (None, [both]),
    ]:
        with pytest.raises(FacedistillError, match="can be saved from one network"):
            save_decision_thresholds(model, done)
    with pytest.raises(FacedistillError, match="cannot read"):
        save_decision_thresholds(tmp_path / "a.onnx", [both])


LABELLED = "procedural:identities=5,images=3,size=24,difficulty=0.3"
DISTRACTORS = "procedural:identities=30,images=1,size=24,first_identity=50"


def embeddings_of(spec):
    faces = open_dataset(spec)
    images = np.stack([faces[index].image for index in range(len(faces))])
    return images.reshape(len(images), -1).astype(np.float32) - 127.5


def test_all_pairs_are_measured_from_images_or_embeddings_alike():
    protocol = open_protocol(LABELLED, all_pairs=True)
    seen = evaluate(pixels, protocol, flip=False, fars=(0.1,), resamples=0)
    stored = StoredEmbeddings("a.npy", embeddings_of(LABELLED))
    read = evaluate(stored, protocol, fars=(0.1,), resamples=0)
    assert seen.to_dict() == read.to_dict()
    assert seen.report.genuine == 15
    masked = evaluate(pixels, protocol, mask="one", mask_seed=1, flip=False, resamples=0)
    assert "(masked against plain): TAR@1e-3 not measurable" in masked.line()
    mirrored = StoredEmbeddings("a.npy", stored.plain, stored.plain[::-1])
    assert evaluate(mirrored, protocol, resamples=0).report.auc != read.report.auc


def test_distractors_are_searched_from_images_or_embeddings_alike(tmp_path):
    np.save(tmp_path / "distractors.npy", embeddings_of(DISTRACTORS))
    from_images = open_protocol(LABELLED, distractors=DISTRACTORS)
    from_file = open_protocol(LABELLED, distractors=tmp_path / "distractors.npy")
    seen = evaluate(pixels, from_images, flip=False, resamples=20)
    read = evaluate(StoredEmbeddings("a.npy", embeddings_of(LABELLED)), from_file, resamples=20)
    mixed = evaluate(pixels, from_file, flip=False, resamples=20)
    assert seen.report.rates == read.report.rates == mixed.report.rates
    expected = distractor_rates(
        embeddings_of(LABELLED), np.repeat(range(5), 3), embeddings_of(DISTRACTORS), resamples=20
    )
    assert seen.report.rates == expected
    assert [rate.distractors for rate in expected] == [10, 10, 30, 30]
    assert "rank-1 among 30 " in seen.line()
    assert "30 searches, 15 images of 5 identities" in seen.line()
    assert json.loads(json.dumps(seen.to_dict()))["protocol"] == "distractors"


@pytest.mark.parametrize("stored", [False, True])
def test_products_are_computed_where_the_network_is_or_on_the_best_device(monkeypatch, stored):
    # As good as the CPU, but with another name.
    there, seen = torch.device("cpu:0"), []

    def note(computing):
        def compute(*arguments, device, **more):
            seen.append(device)
            return computing(*arguments, device=device, **more)

        return compute

    for each in (module, all_pairs):
        monkeypatch.setattr(each, "best_device", lambda: there)
        monkeypatch.setattr(each, "device_of", lambda network: there)
    monkeypatch.setattr(all_pairs, "compare_all", note(all_pairs.compare_all))
    monkeypatch.setattr(module, "distractor_rates", note(distractor_rates))
    faces = StoredEmbeddings("a.npy", embeddings_of(LABELLED)) if stored else pixels
    evaluate(faces, open_protocol(LABELLED, all_pairs=True), resamples=0)
    distractors = StoredEmbeddings("b.npy", embeddings_of(DISTRACTORS))
    among = DistractorProtocol(open_dataset(LABELLED), distractors)
    evaluate(faces, among, flip=False, resamples=0)
    assert seen == [there, there]


def test_what_a_data_set_has_not_is_refused(tmp_path):
    whole, among = (
        open_protocol(LABELLED, all_pairs=True),
        open_protocol(LABELLED, distractors=LABELLED),
    )
    stored = StoredEmbeddings("a.npy", embeddings_of(LABELLED))
    for flag, asked in (("against", {"against": pixels}), ("robustness", {"robustness": "one"})):
        with pytest.raises(FacedistillError, match=f"not for a whole data set: --{flag};"):
            evaluate(pixels, whole, **asked)
    with pytest.raises(FacedistillError, match="among distractors: --mask;"):
        evaluate(pixels, among, mask="one")
    with pytest.raises(FacedistillError, match="these are embeddings"):
        evaluate(stored, whole, mask="one")
    with pytest.raises(FacedistillError, match="not for a whole data set: --variant"):
        evaluate(pixels, whole, variants=[Variant()])
    with pytest.raises(FacedistillError, match=r"give the distractors' as a \.npy"):
        evaluate(stored, among)
    with pytest.raises(FacedistillError, match=r"2 rows, .* 15 images"):
        evaluate(StoredEmbeddings("a.npy", np.ones((2, 3))), whole)
    with pytest.raises(FacedistillError, match="one at a time"):
        open_protocol(LABELLED, all_pairs=True, distractors=LABELLED)
    with pytest.raises(FacedistillError, match="give no pairs of both kinds"):
        open_protocol("procedural:identities=5,images=1", distractors=LABELLED)
    with pytest.raises(FacedistillError, match="can be saved from one network"):
        save_decision_thresholds(tmp_path / "a.onnx", [evaluate(stored, whole, resamples=0)])


@pytest.mark.parametrize(
    ("model", "sets", "settings", "message"),
    [
        (None, 1, {}, "from one network on one set of pairs"),
        ("a.onnx", 2, {}, "from one network on one set of pairs"),
        ("a.onnx", 1, {"mask": "one"}, "from one network on one set of pairs"),
        ("a.onnx", 1, {"flip": False}, "from one network on one set of pairs"),
        ("a.pt", 1, {}, "a.pt cannot carry thresholds"),
    ],
)
def test_thresholds_that_cannot_be_saved_are_refused_before_measuring(
    model, sets, settings, message
):
    protocols = [open_protocol(FACES)] * sets
    with pytest.raises(FacedistillError, match=message):
        check_saves_thresholds(model, protocols, EvaluationOptions.of(**settings))
