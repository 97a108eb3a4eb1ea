import json

from facedistill.evaluation.evaluate import Evaluation
from facedistill.evaluation.report import Report
from facedistill.report.documents.evaluation_report import write_report


class OtherReport(Report):
    """A report of a kind that sections do not know."""

    score = -0.032

    def line(self):
        return "landmarks: NME 3.2 % <of> 1,000 faces"

    def to_dict(self):
        return {"nme": 0.032}


def test_a_report_of_another_kind_is_shown_by_its_line_and_replaced(tmp_path):
    for subject in ("a.onnx", "b.onnx"):
        write_report(tmp_path, [Evaluation(OtherReport("landmarks"))], [None], subject=subject)
    page = (tmp_path / "report.html").read_text()
    assert "NME 3.2 % &lt;of&gt; 1,000 faces" in page
    assert "b.onnx" in page
    (part,) = json.loads((tmp_path / "report.json").read_text())["evaluations"]
    assert part["nme"] == 0.032
    assert len(list(tmp_path.iterdir())) == 3
