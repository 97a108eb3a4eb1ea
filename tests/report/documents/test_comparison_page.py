import base64
import csv
import io
import json
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex

from facedistill.evaluation.statistics.table_rows import Measured, Row, RunResult, Truth, assemble
from facedistill.report.documents.comparison_page import (
    _colours,
    learning_figure,
    to_html,
    write_comparison,
)
from facedistill.report.documents.comparison_table import to_csv
from tests.report.browser import look_at


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.open, self.cells, self.red, self.links = [], [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes["src"])
        self.links += [attributes[k] for k in ("href", "src") if k in attributes]
        if tag not in ("img", "meta", "link", "br"):
            self.open.append((tag, attributes.get("class", "")))
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if any(tag == "td" for tag, _ in self.open):
            self.cells[-1] += data
        if any(kind == "bad" for _, kind in self.open):
            self.red += f" {data.strip()}"


def test_page_is_whole_alone_and_escapes_what_it_shows(rows):
    page = Page(text := to_html("my <table>", rows))
    assert not page.open
    assert len(page.images) == 3  # all runs, and each row that has trained
    for image in page.images:
        kind, content = image.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(content)
    assert all(link.startswith(("data:", "#row-")) for link in page.links)
    assert "http://" not in text
    assert "https://" not in text
    assert "my &lt;table&gt;" in text
    assert "name: &lt;fcd&gt; &amp; co" in text
    assert "<b>here" not in text
    for row in rows:
        assert row.name in page.cells
    assert "unknown" in page.red
    assert "no bank <b>here</b>" in page.red
    assert "CC-BY" not in page.red
    # Without a single run there is nothing to draw.
    assert not Page(to_html("x", [Row("a", "", [RunResult(0, "gone")])])).images


def test_figures_stand_under_their_row(tmp_path):
    fields, torn = tmp_path / "fields.png", tmp_path / "torn.png"
    cv2.imwrite(str(fields), np.zeros((8, 8, 3), np.uint8))
    torn.write_bytes(b"\x89PNG")
    shown = {"where centres <look>": fields, "saliency": torn}
    runs = [
        RunResult(0, "gone", figure_files=shown),
        RunResult(1),
        RunResult(2, figure_files=shown),
    ]
    page = Page(text := to_html("x", [Row("a", "", runs), Row("b", "", [RunResult(0)])]))
    (image,) = page.images
    assert image.startswith("data:image/jpeg;base64,")
    assert "a, seed 2: where centres &lt;look&gt;" in text
    assert "a, seed 2: saliency (the figure is damaged)" in page.red
    assert text.index('id="row-a"') < text.index(image) < text.index('id="row-b"')
    assert not page.open


def test_page_in_a_browser(rows, tmp_path):
    path = tmp_path / "comparison.html"
    click = "<script>document.querySelectorAll('#rows button')[2].click()</script></body>"
    path.write_text(to_html("comparison", rows).replace("</body>", click))
    seen = look_at(path, tmp_path)
    assert (seen["problems"], seen["console"], seen["absent"], seen["outside"]) == ([], [], [], [])
    assert seen["images"] == 3
    assert not seen["wide"]
    order = [line.split("\t")[0] for line in seen["text"].splitlines() if "\t" in line]
    assert order[:4] == ["row", "fcd", "plain", "broken"]  # by accuracy, the highest first
    assert order[4:] == ["row", "plain", "fcd"]  # paired by seed


def test_curves_name_every_row_and_a_seed_has_one_style(rows):
    records = rows[0].runs[0].records
    # Both seeds crashed before the first validation: there is a loss alone, of the second.
    early = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]
    late = Row("late", "name: x", [RunResult(0, "gone"), RunResult(1, "gone", records=early)])
    second = Row("second", "name: x", [RunResult(1, records=records)])
    figure = learning_figure([*rows, late, second])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["plain", "fcd", "second", "late"]
    accuracy, loss = figure.axes
    assert len(accuracy.lines) == 5
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--", "-", "--", "--", "--"]
    assert learning_figure([rows[2]]) is None


def test_figures_by_seed_are_those_of_the_table(rows):
    page = Page(to_html("x", rows))
    for row in rows[:2]:
        for run in row.runs:
            share = run.measured["lfw"].report["accuracy"]["value"]
            assert f"{100 * share:.2f}" in page.cells
    assert "lfw accuracy %" in to_html("x", rows)


def test_what_is_not_finite_sorts_as_missing():
    report = {"nme": {"value": np.nan, "interval": None}}
    bad = Row("bad", "name: x", [RunResult(0, measured={"w": Measured(report, np.ones(3))})])
    text = to_html("x", assemble([bad], {"w": Truth(np.ones(3, bool))}, []))
    assert 'data-value="nan"' not in text


@pytest.mark.parametrize("count", [1, 10, 11, 19])
def test_every_row_has_its_own_colour(count):
    colours = [to_hex(colour) for colour in _colours(count)]
    assert len(set(colours)) == len(colours) == count


def test_files_hold_every_number(rows, tmp_path):
    paths = write_comparison("title", rows, tmp_path)
    assert [path.suffix for path in paths] == [".md", ".csv", ".json", ".html"]
    lines = list(csv.DictReader(io.StringIO(to_csv(rows))))
    estimate = rows[1].figures["lfw"]["accuracy"]
    assert float(lines[1]["lfw|accuracy"]) == estimate.value
    assert float(lines[1]["lfw|accuracy low"]) == estimate.interval.low
    assert float(lines[1]["lfw|-plain"]) == rows[1].differences["lfw"]["plain"].value
    assert lines[2]["error"] == "no bank <b>here</b>"
    document = json.loads(paths[2].read_text())
    assert document["rows"][2]["runs"] == [
        {"seed": 0, "error": "no bank <b>here</b>", "step_seconds": None, "measured": {}}
    ]
    assert document["rows"][1]["figures"]["lfw"]["accuracy"]["value"] == estimate.value


def test_figures_that_are_not_finite_are_null_in_json(tmp_path):
    def result(seed, value):
        interval = {"low": value, "high": np.inf, "over": "faces", "units": 3}
        report = {"nme": {"value": value, "interval": interval}}
        return RunResult(seed, None, {"w": Measured(report, np.full(3, value))}, 10, 20, np.nan)

    made = [
        Row("a", "name: a", [result(0, 0.1), result(1, np.nan)]),
        Row("b", "name: b", [result(0, 0.2)]),
    ]
    rows = assemble(made, {"w": Truth(np.ones(3, bool))}, ["a"])
    write_comparison("x", rows, tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "comparison.json").read_text()
    first, second = json.loads(text, parse_constant=refuse)["rows"]
    assert first["figures"]["w"]["nme"] == {"value": None, "interval": None}
    assert first["runs"][1]["measured"]["w"]["nme"]["value"] is None
    assert second["figures"]["w"]["nme"]["value"] == 0.2
    assert second["differences"]["w"]["a"]["value"] is None
