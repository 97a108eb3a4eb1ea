"""Sheets of faces to look at: samples of a data set, pairs with their scores.

Tiles keep their own pixels; text is drawn over the finished sheet by matplotlib, whose font knows
the letters of most languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError

MAX_SHEET_PIXELS = 1 << 26
"""Largest sheet drawn, about 8,000 x 8,000."""

_DPI = 100
_MARGIN = 16
_GAP = 8
_LABEL_HEIGHT = 18
_TITLE_HEIGHT = 34
_LABEL_PIXELS, _TITLE_PIXELS = 11, 17
_LETTER_WIDTH = 0.58
"""Width of an average letter over the font's size."""
_FRAME = 3

_PAPER = (255, 255, 255)
_INK, _FAINT = "#1f2328", "#57606a"
_RIGHT, _WRONG, _UNDECIDED = (46, 160, 67), (218, 54, 51), (208, 215, 222)


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    text: str
    pixels: int
    colour: str
    centred: bool = True


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
) -> np.ndarray:
    """Lay images out in rows, a label under each.

    Args:
        images: uint8 RGB (H, W, 3) of any sizes; a cell is as large as the largest of them, and
            smaller ones are centred in theirs.
        columns: Images in a row; by default about as many as rows.
        labels: One for each image; too long ones end in an ellipsis.
        title: Line above all.

    Returns:
        uint8 RGB sheet.

    Raises:
        FacedistillError: If there are no images, labels do not fit them, or the sheet would exceed
            `MAX_SHEET_PIXELS`.
    """
    _check(images, labels)
    columns = min(columns or _square_columns(len(images)), len(images))
    if columns < 1:
        raise FacedistillError(f"a contact sheet of {columns} columns: give at least 1")
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    caption = _LABEL_HEIGHT if labels else 0
    step_y, step_x = height + caption + _GAP, width + _GAP
    top = _MARGIN + (_TITLE_HEIGHT if title else 0)
    rows = -(-len(images) // columns)
    sheet = _paper(top + rows * step_y - _GAP + _MARGIN, 2 * _MARGIN + columns * step_x - _GAP)
    texts = [_title(title, sheet)] if title else []
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        y, x = top + row * step_y, _MARGIN + column * step_x
        _paste(sheet, image, y + (height - image.shape[0]) // 2, x + (width - image.shape[1]) // 2)
        if labels:
            text = _shorten(labels[index], width, _LABEL_PIXELS)
            middle = y + height + _LABEL_HEIGHT / 2
            texts.append(_Text(x + width / 2, middle, text, _LABEL_PIXELS, _FAINT))
    return _write(sheet, texts)


def pair_sheet(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    scores: Sequence[float] | np.ndarray | None,
    same: Sequence[bool] | np.ndarray,
    threshold: float | None = None,
    columns: int | None = None,
    title: str | None = None,
) -> np.ndarray:
    """Show pairs with their score, the truth, and whether the decision was right.

    A pair has a green frame where deciding `score >= threshold` is right, a red one, with the kind
    of error in words, where it is wrong, and a gray one where nothing is decided.

    Args:
        pairs: Two uint8 RGB images each; the second is resized to the first one's height.
        scores: (P,) cosine similarities; None to show pairs alone.
        same: (P,) whether it is one identity.
        threshold: From which score on the pair counts as one identity; None to decide nothing.
        columns: Pairs in a row; by default so many that the sheet is about square.
        title: Line above all.

    Returns:
        uint8 RGB sheet.

    Raises:
        FacedistillError: If there are not as many scores and truths as pairs, there is a threshold
            without scores, or see `contact_sheet`.
    """
    if scores is None and threshold is not None:
        raise FacedistillError("a sheet of pairs has a threshold but no scores: give both")
    if len(same) != len(pairs) or (scores is not None and len(scores) != len(pairs)):
        raise FacedistillError(
            f"{len(pairs)} pairs, {len(same)} truths"
            f"{'' if scores is None else f', {len(scores)} scores'}: give one of each"
        )
    tiles, labels = [], []
    for index, (images, truth) in enumerate(zip(pairs, same, strict=True)):
        _check(images, None)
        score = None if scores is None else float(scores[index])
        colour, verdict = _verdict(score, bool(truth), threshold)
        tiles.append(_framed_pair(*images, colour))
        labels.append(verdict if score is None else f"{score:.3f} · {verdict}")
    columns = columns or max(1, round(np.sqrt(len(tiles) / 2)))
    return contact_sheet(tiles, columns, labels, title)


def save_sheet(path: str | Path, sheet: np.ndarray) -> None:
    """Write a sheet as PNG; the file is there whole or not at all.

    Args:
        path: File to write.
        sheet: uint8 RGB (H, W, 3).

    Raises:
        FacedistillError: If the file cannot be written.
    """
    encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _check(images: Sequence[np.ndarray], labels: Sequence[str] | None) -> None:
    if not len(images):
        raise FacedistillError("a contact sheet needs at least one image")
    if labels is not None and len(labels) != len(images):
        raise FacedistillError(f"{len(images)} images but {len(labels)} labels")
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise FacedistillError(
                f"image {index} of the sheet is {image.dtype} {image.shape}, not uint8 (H, W, 3)"
            )


def _square_columns(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def _paper(height: int, width: int) -> np.ndarray:
    if height * width > MAX_SHEET_PIXELS:
        raise FacedistillError(f"a sheet of {width} x {height} pixels: show fewer images")
    return np.full((height, width, 3), _PAPER, np.uint8)


def _paste(sheet: np.ndarray, image: np.ndarray, y: int, x: int) -> None:
    sheet[y : y + image.shape[0], x : x + image.shape[1]] = image


def _framed_pair(left: np.ndarray, right: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    height = left.shape[0]
    if right.shape[0] != height:
        width = max(1, round(right.shape[1] * height / right.shape[0]))
        right = cv2.resize(right, (width, height), interpolation=cv2.INTER_AREA)
    width = left.shape[1] + right.shape[1]
    tile = np.full((height + 2 * _FRAME, width + 3 * _FRAME, 3), colour, np.uint8)
    _paste(tile, left, _FRAME, _FRAME)
    _paste(tile, right, _FRAME, 2 * _FRAME + left.shape[1])
    return tile


def _verdict(
    score: float | None, truth: bool, threshold: float | None
) -> tuple[tuple[int, int, int], str]:
    """Return a pair's frame colour and what to say of it."""
    text = "same" if truth else "different"
    if score is None or threshold is None:
        return _UNDECIDED, text
    if (score >= threshold) == truth:
        return _RIGHT, text
    return _WRONG, "missed" if truth else "false accept"


def _title(title: str, sheet: np.ndarray) -> _Text:
    width = sheet.shape[1] - 2 * _MARGIN
    text = _shorten(title, width, _TITLE_PIXELS)
    return _Text(_MARGIN, _MARGIN + _TITLE_HEIGHT / 3, text, _TITLE_PIXELS, _INK, centred=False)


def _shorten(text: str, width: int, pixels: int) -> str:
    """Return as much of a line of text as fits, with an ellipsis where something is left out."""
    text = " ".join(text.split())
    room = max(1, int(width / (_LETTER_WIDTH * pixels)))
    return text if len(text) <= room else text[: room - 1] + "…"


def _write(sheet: np.ndarray, texts: list[_Text]) -> np.ndarray:
    """Draw texts over a sheet whose pixels otherwise stay as they are."""
    if not texts:
        return sheet
    height, width = sheet.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.patch.set_alpha(0)
    for text in texts:
        figure.text(
            text.x / width,
            1 - text.y / height,
            text.text,
            fontsize=text.pixels * 72 / _DPI,
            color=text.colour,
            ha="center" if text.centred else "left",
            va="center",
            parse_math=False,
        )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[:height, :width].astype(np.float32)
    opacity = drawn[..., 3:] / 255
    # Agg premultiplies nothing: the colours are plain, their opacity is apart.
    return np.rint(drawn[..., :3] * opacity + sheet * (1 - opacity)).astype(np.uint8)
