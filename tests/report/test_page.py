import base64
import re
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from facedistill.report.page import (
    FACE_SIDE,
    FIGURE_WIDTH,
    drawing_uri,
    face_uri,
    figure_uri,
    render_page,
)


def content(uri: str) -> bytes:
    return base64.b64decode(uri.split("base64,")[1])


def test_a_drawing_is_the_same_svg_each_time_and_names_no_font_of_this_machine():
    def draw():
        figure = Figure(figsize=(2, 2))
        figure.subplots().set(xlabel="über & <tags>")
        return drawing_uri(figure)

    assert draw() == draw()
    svg = content(draw()).decode()
    assert "über &amp; &lt;tags&gt;" in svg
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "DejaVu" not in svg
    assert re.findall(r"(?:href|src)=\"http", svg) == []


def test_a_figure_is_shrunk_to_the_page_and_a_damaged_one_is_none(tmp_path):
    path = tmp_path / "a.png"
    image = np.full((40, 2 * FIGURE_WIDTH, 3), (10, 40, 200), np.uint8)
    cv2.imwrite(str(path), image)
    shown = cv2.imdecode(np.frombuffer(content(figure_uri(path)), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (20, FIGURE_WIDTH, 3)
    assert abs(shown.astype(int) - image[:20, :FIGURE_WIDTH]).max() < 8
    path.write_bytes(path.read_bytes()[:-20])
    assert figure_uri(path) is None
    assert figure_uri(tmp_path / "none.png") is None


def test_faces_are_shrunk_to_what_a_page_shows():
    rng = np.random.default_rng(0)
    for side, shown in ((48, (48, 36)), (2 * FACE_SIDE, (FACE_SIDE, 3 * FACE_SIDE // 4))):
        image = rng.integers(0, 256, (side, side * 3 // 4, 3), dtype=np.uint8)
        uri = face_uri(image)
        assert uri.startswith("data:image/jpeg;base64,")
        decoded = cv2.imdecode(np.frombuffer(content(uri), np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape[:2] == shown
    flat = np.full((32, 32, 3), (200, 40, 10), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(content(face_uri(flat)), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decoded.astype(int) - flat).max() < 8


def test_text_is_escaped_and_nothing_may_be_missing():
    page = render_page("evaluation.html", title="<b>a&b</b>", about={}, sections=[])
    assert "&lt;b&gt;a&amp;b&lt;/b&gt;" in page
    assert "<b>a" not in page
    with pytest.raises(UndefinedError):
        render_page("evaluation.html", title="a")
