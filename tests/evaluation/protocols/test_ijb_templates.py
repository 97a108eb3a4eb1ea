import dataclasses
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve as sklearn_roc_curve

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.ijb_files import read_ijb
from facedistill.evaluation.metrics.template_pooling import VARIANTS, Variant, pool_templates
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.ijb_templates import check_ijb, embed_ijb, evaluate_ijb
from facedistill.models.outputs import Outputs
from tests.data.formats.ijb_folder import write_ijb
from tests.evaluation.protocols import ijb_by_hand

FARS = (1e-2, 0.05, 0.3)


@pytest.fixture
def protocol(tmp_path):
    wrote = write_ijb(tmp_path)
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(12, 6))[wrote["identities"]]
    plain, flipped = centres + 1.2 * rng.normal(size=(2, *centres.shape))
    return read_ijb(tmp_path), plain, flipped, wrote


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_figures_are_those_of_the_published_protocols(protocol, variant):
    files, plain, flipped, wrote = protocol
    report = evaluate_ijb(
        files, plain, flipped, variants=[variant], fars=FARS, fpirs=(0.2, 0.5), resamples=0
    )
    features = ijb_by_hand.face_features(
        plain, flipped, wrote["scores"], variant.norm, variant.detector, variant.flip
    )
    ids, templates = ijb_by_hand.pooled(features, wrote["templates"], wrote["media"])
    scores = ijb_by_hand.pair_scores(ids, templates, wrote["pairs"])
    far, tar, _ = (np.flipud(x) for x in sklearn_roc_curve(wrote["same"], scores))
    (verified,) = report.verification
    for target, point in zip(FARS, verified.nearest, strict=True):
        assert point.tar == pytest.approx(tar[np.argmin(abs(far - target))], abs=1e-12)

    (identified,) = report.identification
    place = {template: row for row, template in enumerate(ids)}
    probes = templates[[place[template] for template in wrote["probes"]]]
    galleries = [
        ijb_by_hand.identification(
            probes,
            np.arange(12),
            templates[[place[template] for template in wrote["gallery"][first::2]]],
            np.arange(first, 12, 2),
            fars=(0.2, 0.5),
            ranks=(1, 5),
        )
        for first in (0, 1)
    ]
    for rank in (1, 5):
        found = sum(gallery[0][rank] for gallery in galleries)
        assert identified.ranks[rank].value == pytest.approx(found / 12, abs=1e-12)
    for column, name in enumerate(("2e-1", "5e-1")):
        mean = np.mean([gallery[3][column] for gallery in galleries])
        assert identified.tpir[name] == pytest.approx(mean, abs=1e-12)


def test_line_and_json_name_variant_and_figures(protocol):
    files, plain, flipped, _ = protocol
    variants = [Variant.parse("N1D1F1"), Variant.parse("N0D0F0")]
    report = evaluate_ijb(
        files, plain, flipped, variants=variants, fars=(1e-6, 0.1), fpirs=(1e-3, 0.5)
    )
    first, second, third, fourth = report.line().splitlines()
    assert first.startswith("IJBC 1:1 N1D1F1: TAR@1e-6 not measurable, TAR@1e-1 ")
    assert "12 genuine, 132 impostor pairs" in second
    assert third.startswith("IJBC 1:N N1D1F1: rank-1 ")
    assert "TPIR@1e-3 not measurable" in fourth
    assert "galleries of 6 and 6" in fourth
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["verification"][0]["tar_at_far"]["1e-1"]["interval"]["over"] == "identities"
    assert document["identification"][1]["ranks"]["1"]["interval"]["over"] == "identities"
    assert list(report.thresholds) == ["1e-1"]


def test_few_identities_leave_pairs_to_resample(protocol):
    files, plain, flipped, _ = protocol
    few = np.isin(files.pairs, files.galleries[0].templates).any(axis=1)
    some = dataclasses.replace(files, pairs=files.pairs[few], same=files.same[few])
    report = evaluate_ijb(some, plain, flipped, fars=(0.1,), resamples=50)
    assert report.verification[0].intervals["1e-1"].over == "pairs"


def test_network_gives_the_same_as_its_embeddings(protocol, monkeypatch):
    files, _, _, _ = protocol
    faces = np.random.default_rng(2).integers(0, 256, (len(files), 8, 8, 3), dtype=np.uint8)
    monkeypatch.setattr(type(files), "face", lambda self, index: faces[index])

    def network(images, needs):
        return Outputs(embedding=images.reshape(len(images), -1).float()[:, :50])

    plain, flipped = embed_ijb(network, files, EvaluationOptions())
    expected = network(torch.from_numpy(faces[:, :, ::-1].copy()), {"embedding"}).embedding
    np.testing.assert_array_equal(flipped, expected.numpy())
    np.testing.assert_array_equal(plain, faces.reshape(len(faces), -1)[:, :50])
    assert embed_ijb(network, files, EvaluationOptions(), flip=False)[1] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {"pairs": np.append(f.pairs[:-1], [[10, 9999]], axis=0)}, "9999 has no media"),
        (lambda f: {"same": np.ones_like(f.same)}, "of two identities"),
        (lambda f: {"same": np.zeros_like(f.same)}, "of one identity"),
        (lambda f: {"pairs": None, "probes": None}, "nothing to measure"),
        (
            lambda f: {"probes": dataclasses.replace(f.probes, templates=f.probes.templates + 1)},
            "probe_mixed.csv: template .* has no media",
        ),
    ],
)
def test_contradictions_are_refused_before_embedding(protocol, change, message):
    files = protocol[0]
    with pytest.raises(FacedistillError, match=message):
        check_ijb(dataclasses.replace(files, **change(files)))


@pytest.mark.parametrize("last", [None, [10, 10]])
def test_pairs_that_are_listed_again_are_measured_with_a_warning(protocol, last):
    files = protocol[0]
    again = files.pairs[0, ::-1] if last is None else last
    listed = dataclasses.replace(files, pairs=np.append(files.pairs[:-1], [again], axis=0))
    warning = rf"1 of {len(files.pairs):,} pairs of templates .*first line {len(files.pairs)}\)"
    with pytest.warns(UserWarning, match=warning):
        check_ijb(listed)


def test_nan_and_missing_embeddings_are_refused(protocol):
    files, plain, flipped, _ = protocol
    broken = plain.copy()
    broken[5, 2] = np.nan
    with pytest.raises(FacedistillError, match="face 5 is not finite"):
        evaluate_ijb(files, broken, flipped)
    with pytest.raises(FacedistillError, match="take N1D1F0"):
        evaluate_ijb(files, plain)
    with pytest.raises(FacedistillError, match="the protocol lists"):
        evaluate_ijb(files, plain[1:], flipped)


def test_pooled_templates_know_their_ids(protocol):
    files, plain, _, _ = protocol
    templates = pool_templates(
        plain, files.templates, files.media, variant=Variant(True, False, False)
    )
    assert templates.rows(np.array([13, 10]), "here").tolist() == [1, 0]
