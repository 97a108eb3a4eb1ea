import json
import re

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.face_network import FaceNetwork
from facedistill.report.documents.evaluation_report import facts_of, write_report
from facedistill.report.sections.face_gallery import PAIRS_SHOWN
from facedistill.runtime.input_spec import InputSpec
from tests.report.browser import look_at
from tests.report.evaluations import pixels


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
    assert "<b>" not in text
    for heading in (
        "# &lt;b>student&lt;/b>.onnx", "### K-fold accuracy", "### Robustness",
        "### Errors by parity", "### Difference from the other network",
        "### Hardest false accepts", "### 1:N, open set",
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


def test_a_browser_shows_every_image_without_an_error(everything, tmp_path):
    _, out, _ = everything
    seen = look_at(out / "report.html", tmp_path, width=700)
    assert (seen["problems"], seen["absent"], seen["outside"], seen["console"]) == ([], [], [], [])
    assert not seen["wide"]
    # Curves: 3 of each ROC, robustness and groups, CMC, distractors. Faces: two kinds, two each.
    faces = 3 * 2 * PAIRS_SHOWN * 2
    assert seen["images"] == 5 * 3 + 2 + 1 + 1 + faces
    for words in ("Hardest false rejects", "Robustness", "a & b", "<b>student</b>.onnx", "CMC"):
        assert words in seen["text"]


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
    (tmp_path / "file").write_text("kept")
    with pytest.raises(FacedistillError, match="file is a file"):
        write_report(tmp_path / "file", [], [], subject="a")
