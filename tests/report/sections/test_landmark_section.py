import json

import numpy as np

from facedistill.evaluation.evaluate import Evaluation
from facedistill.evaluation.protocols.landmark_localisation import report_landmarks
from facedistill.report.documents.evaluation_report import write_report


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
