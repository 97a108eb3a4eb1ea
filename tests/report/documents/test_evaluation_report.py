import json
import re

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.group_table import read_groups
from facedistill.evaluation.evaluate import Evaluation, open_protocol
from facedistill.evaluation.evaluate import evaluate as measure
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.perturbations.masked import MaskedPairs, put_on_mask
from facedistill.evaluation.protocols.landmark_localisation import report_landmarks
from facedistill.evaluation.report import Report
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.report.documents.evaluation_report import facts_of, write_report
from facedistill.report.page import face_uri
from facedistill.report.sections.face_gallery import PAIRS_SHOWN
from facedistill.runtime.input_spec import InputSpec
from tests.data.formats.ijb_folder import write_ijb
from tests.report.browser import look_at

SPEC = "procedural:identities=14,images=4,size=40,difficulty=0.3"
FARS = (0.1, 1e-4)


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


def evaluate(embedder, protocol, against=None, **settings):
    return measure(embedder, protocol, EvaluationOptions(**settings), against=against)


def noisy(images, needs):
    generator = torch.Generator().manual_seed(int(images.long().sum()))
    clean = pixels(images, needs).embedding
    return Outputs(embedding=clean + 60 * torch.randn(clean.shape, generator=generator))


def ijb_folder(folder):
    """An IJB folder's protocol, and embeddings of its faces."""
    identities = write_ijb(folder)["identities"]
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(identities), 8)) + 2 * np.eye(12, 8)[identities]
    return open_protocol(folder), StoredEmbeddings("faces.npy", vectors)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """One evaluation of every kind, what it was measured on, and the report of them all."""
    folder = tmp_path_factory.mktemp("report")
    table = folder / "groups.csv"
    # What a table of groups says is as foreign as a file's name.
    table.write_text("identity,parity\n" + "".join(f"{i},<{i % 2}>\n" for i in range(14)))
    pairs = open_protocol(SPEC)
    whole = open_protocol(SPEC, all_pairs=True)
    among = open_protocol(SPEC, distractors="procedural:identities=20,images=1,size=40,seed=1")
    files, stored = ijb_folder(folder / "ijb")
    settings = {"fars": FARS, "resamples": 30, "flip": False}
    groups = {"groups": read_groups(table), "group_far": 0.1}
    done = {
        "pairs": (
            evaluate(pixels, pairs, against=noisy, robustness="one", **groups, **settings),
            pairs,
        ),
        "masked": (evaluate(pixels, pairs, mask="one", mask_seed=5, **settings), pairs),
        "all": (evaluate(pixels, whole, mask="one", mask_seed=5, **settings), whole),
        "among": (evaluate(pixels, among, resamples=30, flip=False), among),
        "ijb": (evaluate(stored, files, resamples=30), files),
        "unseen": (evaluate(pixels, pairs, fars=(1e-6,), resamples=0), None),
    }
    evaluations, protocols = zip(*done.values(), strict=True)
    out = folder / "out" / "report"
    written = write_report(
        out, evaluations, protocols, subject="<b>student</b>.onnx", facts={"input": "a & b"},
        mask_seed=5,
    )  # fmt: skip
    return done, out, written


def test_three_files_and_no_more(everything):
    _, out, written = everything
    assert written == [out / name for name in ("report.json", "report.md", "report.html")]
    assert sorted(out.iterdir()) == sorted(written)


def test_the_json_has_every_figure_and_the_rules(everything):
    done, out, _ = everything
    document = json.loads((out / "report.json").read_text())
    assert document["network"] == "<b>student</b>.onnx"
    parts = dict(zip(done, document["evaluations"], strict=True))
    for name, (evaluation, _) in done.items():
        figures = json.loads(json.dumps(evaluation.to_dict()))
        assert {key: parts[name][key] for key in figures} == figures
    rules = {name: [rule["name"] for rule in part["rules"]] for name, part in parts.items()}
    assert rules["pairs"] == ["insightface", "tar_at_far", "robustness", "fairness", "procedural"]
    assert "masks" in rules["masked"]
    assert rules["all"] == ["all_pairs", "tar_at_far", "masks", "procedural"]
    assert rules["ijb"] == ["ijb_templates", "ijb_identification"]
    assert rules["among"] == ["distractors", "procedural"]
    assert all(rule["version"] >= 1 for part in parts.values() for rule in part["rules"])
    assert parts["pairs"]["data_fingerprint"] == done["pairs"][1].pairset.faces.fingerprint
    roc = next(iter(parts["all"]["roc"].values()))
    assert roc["far"] == sorted(roc["far"])
    assert len(roc["far"]) == len(roc["tar"]) <= 200


def test_the_markdown_has_every_table(everything):
    _, out, _ = everything
    text = (out / "report.md").read_text()
    for heading in (
        "# <b>student</b>.onnx", "### K-fold accuracy", "### Robustness", "### Errors by parity",
        "### Difference from the other network", "### Hardest false accepts", "### 1:N, open set",
        "### Identification among distractors", "### Protocols",
    ):  # fmt: skip
        assert f"\n{heading}\n" in "\n" + text
    assert "needs 10,000 impostor pairs" in text
    assert "| as they are |" in text
    assert "No images were at hand" in text
    widths = [
        {line.count(" | ") for line in table.strip().splitlines()}
        for table in re.findall(r"(?:^\|.*\n)+", text, re.M)
    ]
    assert all(len(width) == 1 for width in widths)


def test_the_page_names_nothing_outside_itself(everything):
    page = (everything[1] / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert not re.findall(r"url\(|@import|<script", page)
    assert "&lt;b&gt;student&lt;/b&gt;.onnx" in page
    assert "&lt;0&gt;" in page
    assert "<b>student" not in page


def test_a_browser_shows_every_picture_and_complains_of_nothing(everything, tmp_path):
    _, out, _ = everything
    seen = look_at(out / "report.html", tmp_path, width=700)
    assert (seen["problems"], seen["absent"], seen["outside"], seen["console"]) == ([], [], [], [])
    assert not seen["wide"]
    # Curves: 3 of each ROC, robustness and groups, CMC, distractors. Faces: two kinds, two each.
    faces = 3 * 2 * PAIRS_SHOWN * 2
    assert seen["pictures"] == 5 * 3 + 2 + 1 + 1 + faces
    for words in ("Hardest false rejects", "Robustness", "a & b", "<b>student</b>.onnx", "CMC"):
        assert words in seen["text"]


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
    report, worn = evaluation.report, MaskedPairs(pairs, "one", 5)
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
            assert all(face_uri(worn.image(side)) in page for side in worn.pairs[number])


def test_all_pairs_show_the_probe_masked(everything):
    evaluation, whole = everything[0]["all"]
    (accepts, rejects), page = shown(everything, "all")
    closest = evaluation.report.comparison.closest
    assert [pair["score"] for pair in accepts] == [pair.score for pair in closest[:PAIRS_SHOWN]]
    assert rejects[0]["score"] == evaluation.report.comparison.scores.min()
    probe = put_on_mask(whole.faces[closest[0].probe].image, closest[0].probe, 5)
    assert face_uri(probe) in page
    assert face_uri(whole.faces[closest[0].gallery].image) in page


class Landmarks(Report):
    """A report of a kind that sections do not know."""

    score = -0.032

    def line(self):
        return "landmarks: NME 3.2 % <of> 1,000 faces"

    def to_dict(self):
        return {"nme": 0.032}


def test_a_report_of_another_kind_is_shown_by_its_line_and_replaced(tmp_path):
    for subject in ("a.onnx", "b.onnx"):
        write_report(tmp_path, [Evaluation(Landmarks("landmarks"))], [None], subject=subject)
    page = (tmp_path / "report.html").read_text()
    assert "NME 3.2 % &lt;of&gt; 1,000 faces" in page
    assert "b.onnx" in page
    (part,) = json.loads((tmp_path / "report.json").read_text())["evaluations"]
    assert part["nme"] == 0.032
    assert len(list(tmp_path.iterdir())) == 3


def test_landmarks_have_their_figures_and_curve(tmp_path):
    truth = np.random.default_rng(0).uniform(0, 1, (20, 5, 2))
    found = truth + 0.01
    measured = report_landmarks("marked faces", found, truth, resamples=20)
    write_report(tmp_path, [Evaluation(measured)], [None], subject="a.onnx")
    page = (tmp_path / "report.html").read_text()
    assert "normalised mean error" in page
    assert f"{100 * measured.nme.value:.2f} %" in page
    assert f"{100 * measured.point_errors[3]:.2f}" in page.split("left mouth corner")[1][:80]
    assert page.count("<img") == 1
    (part,) = json.loads((tmp_path / "report.json").read_text())["evaluations"]
    assert part["nme"]["value"] == measured.nme.value
    assert part["rules"][0]["name"] == "landmarks"


def test_what_was_measured_is_described():
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=32, color="BGR"), width=0.25)
    facts = facts_of(network)
    assert facts["input"] == "32 x 32 BGR, (x - 127.5) / 127.5"
    assert facts["fingerprint"] == network.fingerprint
    assert facts_of(pixels) == {}
    rows = np.ones((56, 4))
    assert facts_of(StoredEmbeddings("a", rows))["embeddings"] == "56 x 4, as they are"
    assert facts_of(StoredEmbeddings("a", rows, rows))["embeddings"].endswith("plain and mirrored")


def test_a_report_is_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FacedistillError, match="file is a file"):
        write_report(tmp_path / "file", [], [], subject="a")
