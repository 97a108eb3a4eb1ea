"""HTML pages that need nothing else: styles, drawings and faces are inside them."""

from __future__ import annotations

import base64
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import read_regular
from facedistill.runtime.image_file import decode_image, encode_jpeg

FACE_SIDE = 160
"""Longest side of a face on a page, pixels; larger ones are shrunk."""

FIGURE_WIDTH = 1100
"""Width of a figure on a page, pixels; wider ones are shrunk."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("facedistill.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: A file in `report/templates`; most extend `page.html`.
        **values: What it shows. Text is escaped.
    """
    return _templates().get_template(template).render(values)


def drawing_uri(figure: Figure) -> str:
    """Return a figure as a data URI: SVG whose letters are those of the reader's machine."""
    FigureCanvasSVG(figure)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "facedistill"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"('DejaVu Sans'|\"DejaVu Sans\")[^;\"]*", _FONT, stream.getvalue())
    return _uri("image/svg+xml", svg.encode())


def face_uri(image: np.ndarray) -> str:
    """Return a face, uint8 RGB (H, W, 3), as a data URI."""
    return _jpeg_uri(image, FACE_SIDE / max(image.shape[:2]))


def figure_uri(path: Path) -> str | None:
    """Return an image file as a data URI, shrunk to a page's width; None if it is damaged."""
    try:
        image = decode_image(read_regular(path), str(path))
    except (OSError, FacedistillError):
        return None
    return _jpeg_uri(image, FIGURE_WIDTH / image.shape[1])


def _jpeg_uri(image: np.ndarray, scale: float) -> str:
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return _uri("image/jpeg", encode_jpeg(image))


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
