import json

import numpy as np
import pytest
import torch

from facedistill.data.groups import read_groups
from facedistill.errors import FacedistillError
from facedistill.evaluation.evaluate import (
    evaluate,
    open_protocol,
    save_decision_thresholds,
)
from facedistill.evaluation.stored import StoredEmbeddings
from facedistill.evaluation.templates import Variant
from facedistill.models.outputs import Outputs
from tests.data.ijb_folder import write_ijb

FACES = "procedural:identities=24,images=4,size=16"


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
    first, second, third, fourth = done.line().splitlines()
    assert first.startswith("procedural:") or "accuracy" in first
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
        rng.normal(size=(2, len(wrote["people"]), 6)) + 3 * np.eye(12, 6)[wrote["people"]]
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
    files = open_protocol(tmp_path)
    faces = np.random.default_rng(2).integers(0, 256, (len(files), 4, 4, 3), dtype=np.uint8)
    monkeypatch.setattr(type(files), "face", lambda self, index: faces[index])
    seen = []

    def network(images, needs):
        seen.append(len(images))
        return pixels(images, needs)

    evaluate(network, files, variants=[Variant(flip=False)], resamples=0)
    assert sum(seen) == len(files)
    report = evaluate(network, files, resamples=0).report
    assert sum(seen) == 3 * len(files)
    assert report.identification[0].variant.name == "N1D1F1"


def test_what_a_protocol_has_not_is_refused(tmp_path):
    write_ijb(tmp_path)
    with pytest.raises(FacedistillError, match="need pairs of images"):
        evaluate(pixels, open_protocol(tmp_path), against=noisy)
    with pytest.raises(FacedistillError, match="variants are for"):
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
