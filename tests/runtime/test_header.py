from pathlib import Path

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.header import parse_exported, stated_thresholds

PATH = Path("student.onnx")


def test_the_document_is_what_the_json_says():
    document = parse_exported('{"thresholds": {"1e-3": 0.5}, "more": [1]}', PATH)
    assert document == {"thresholds": {"1e-3": 0.5}, "more": [1]}
    assert stated_thresholds(document, PATH) == {"1e-3": 0.5}
    assert stated_thresholds({}, PATH) == {}


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000])
def test_damaged_documents_are_refused_by_name(text):
    with pytest.raises(FacedistillError, match=r"student\.onnx: damaged facedistill metadata"):
        parse_exported(text, PATH)


@pytest.mark.parametrize(
    "stated",
    [
        *(3, None, [0.5]),
        *({"1e-3": "high"}, {"1e-3": 1.5}, {"1e-3": float("nan")}, {"1e-3": float("-inf")}),
        *({"often": 0.5}, {"nan": 0.5}, {"2": 0.5}),
    ],
)
def test_damaged_thresholds_are_refused_by_name(stated):
    with pytest.raises(FacedistillError, match=r"student\.onnx: damaged thresholds"):
        stated_thresholds({"thresholds": stated}, PATH)
