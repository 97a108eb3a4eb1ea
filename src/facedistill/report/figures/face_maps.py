"""Maps drawn over faces: what each place of student and teacher looks at, and one map of all."""

from __future__ import annotations

from math import isqrt
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.base import MapOfFace
from facedistill.distill.objectives.cross_architecture.map_similarity import map_cosine
from facedistill.report.figures.curves import save_figure

COLOURS = "inferno"

_SHOWN = 3
"""Centres of a row and of a column whose maps are shown face by face."""
_FACES = 3
"""Faces that are shown."""
_TILE = 32
"""Side of a face in the mosaic, pixels."""


def plot_maps(
    student: torch.Tensor, teacher: torch.Tensor, faces: np.ndarray, path: str | Path
) -> None:
    """Draw what each local centre looks at in teacher and student.

    Above, a mosaic for each network: at each centre's place the mean over the faces of where it
    looks, drawn over the mean face; and the cosine similarity of the two. Below, some faces one by
    one with nine of the centres. Every map is scaled to its own maximum.

    Args:
        student: (B, L, side, side) maps of the student, L a square number.
        teacher: Those of the teacher.
        faces: uint8 RGB (B, H, H, 3), the same faces.
        path: A name that ends in .png.

    Raises:
        FacedistillError: If there are no faces, or the path is no PNG or cannot be written.
    """
    if not len(faces):
        raise FacedistillError(f"nothing to draw in {path}: there are no faces")
    side = isqrt(student.shape[1])
    shown = min(_FACES, len(faces))
    figure = Figure(figsize=(13, 5.0 + 2.6 * shown), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=(4.7, 2.6 * shown), squeeze=False)
    above, below = parts[:, 0]
    left, right, third = above.subplots(1, 3)
    average = faces.mean(axis=0).astype(np.uint8)
    for axes, name, maps in ((left, "teacher", teacher), (right, "student", student)):
        axes.imshow(_mosaic(average, maps.mean(dim=0), side))
        axes.set_title(f"{name}: each centre's mean over {len(faces)} faces")
        axes.axis("off")
    cosine = map_cosine(student, teacher)
    _grid(
        third, cosine.view(side, side), f"cosine similarity, mean {float(cosine.mean()):.2f}", 1.0
    )
    rows = below.subplots(shown, 1, squeeze=False)[:, 0]
    chosen = _spread(side)
    for row, index in zip(rows, range(shown), strict=True):
        row.imshow(_pairs(faces[index], student[index][chosen], teacher[index][chosen]))
        row.axis("off")
    rows[0].set_title(
        "a face, then what nine centres look at: teacher above, student below", fontsize="medium"
    )
    save_figure(figure, path)


def plot_face_map(name: str, drawn: MapOfFace, faces: np.ndarray, path: str | Path) -> None:
    """Draw a map of the face, such as the teacher's saliency, beside the mean face it lies on.

    Args:
        name: What the map is called.
        drawn: The map.
        faces: uint8 RGB (B, H, H, 3).
        path: A name that ends in .png.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    average = faces.mean(axis=0).astype(np.uint8)
    left.imshow(average)
    left.set_title("mean face")
    middle.imshow(_overlay(average, drawn.values / drawn.top))
    middle.set_title(f"{name} on it")
    for axes in (left, middle):
        axes.axis("off")
    _grid(right, drawn.values, drawn.caption, drawn.top)
    save_figure(figure, path)


def _grid(axes: Axes, values: torch.Tensor, title: str, top: float) -> None:
    """Draw numbers in their places."""
    axes.imshow(values.numpy(), cmap=COLOURS, vmin=0, vmax=top)
    for (y, x), value in np.ndenumerate(values.numpy()):
        dark = value < 0.6 * top
        axes.text(x, y, f"{value:.1f}", ha="center", va="center", color="w" if dark else "k")
    axes.set_title(title)
    axes.axis("off")


def _spread(side: int) -> list[int]:
    """Indices of up to nine centres spread over the grid."""
    shown = min(side, _SHOWN)
    axis = [(2 * i + 1) * side // (2 * shown) for i in range(shown)]
    return [y * side + x for y in axis for x in axis]


def _mosaic(face: np.ndarray, maps: torch.Tensor, side: int) -> np.ndarray:
    """Each centre's map over a small face, at the centre's place."""
    small = cv2.resize(face, (_TILE, _TILE), interpolation=cv2.INTER_AREA)
    tiles = [np.pad(_overlay(small, scaled), ((1, 1), (1, 1), (0, 0))) for scaled in _scaled(maps)]
    rows = [np.concatenate(tiles[side * y : side * (y + 1)], axis=1) for y in range(side)]
    return np.concatenate(rows)


def _pairs(face: np.ndarray, student: torch.Tensor, teacher: torch.Tensor) -> np.ndarray:
    """A face, and what centres look at in it: two rows."""
    rows = [
        np.concatenate([face, *(_overlay(face, scaled) for scaled in _scaled(maps))], axis=1)
        for maps in (teacher, student)
    ]
    return np.concatenate(rows)


def _scaled(maps: torch.Tensor) -> torch.Tensor:
    return maps / maps.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-12)


def _overlay(face: np.ndarray, heat: torch.Tensor) -> np.ndarray:
    """Colour a gray face by a map of 0..1."""
    size = face.shape[0]
    smooth = cv2.resize(heat.numpy(), (size, size), interpolation=cv2.INTER_LINEAR)
    gray = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None] / 255
    coloured = colormaps[COLOURS](smooth)[..., :3]
    return (255 * (0.4 * gray + 0.6 * coloured)).clip(0, 255).astype(np.uint8)
