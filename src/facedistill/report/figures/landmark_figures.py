"""Figures of landmarks: best, median and worst faces, the cumulative curve, aligned crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from matplotlib.figure import Figure

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.selection import evenly_spread
from facedistill.evaluation.metrics.landmark_errors import cumulative_curve
from facedistill.evaluation.protocols.landmark_report import LandmarkReport
from facedistill.faces.landmarks import to_fractions, to_pixels
from facedistill.report.figures.curves import save_figure
from facedistill.report.sheet import contact_sheet, save_sheet
from facedistill.runtime.alignment import scale_square, template

TILE = 168
"""Side of a face in the figures."""
EACH = 8
"""How many of the best, of the median and of the worst faces."""
_TRUE, _FOUND = (46, 200, 67), (235, 64, 52)


def mark(
    image: np.ndarray, landmarks: np.ndarray, colour: tuple[int, int, int], size: int = TILE
) -> np.ndarray:
    """Return a square image at `size`, with a dot at each landmark.

    Args:
        image: uint8 RGB (H, H, 3).
        landmarks: (P, 2), fractions of its side.
        colour: RGB.
        size: Side of the figure.
    """
    marked = scale_square(image, size) if len(image) != size else image.copy()
    for x, y in to_pixels(landmarks, marked.shape):
        # Circles take whole pixels, in units of a sixteenth here.
        centre = (round(16 * float(x)), round(16 * float(y)))
        cv2.circle(marked, centre, 32, colour, -1, cv2.LINE_AA, shift=4)
    return marked


def extreme_faces(face_errors: np.ndarray, each: int = EACH) -> dict[str, np.ndarray]:
    """Return which faces are the best, around the median and the worst, each rising in error.

    Args:
        face_errors: (N,).
        each: How many of each; fewer where there are not so many faces.
    """
    order = np.argsort(face_errors, kind="stable")
    each = min(each, len(order))
    middle = (len(order) - each) // 2
    return {
        "best": order[:each],
        "median": order[middle : middle + each],
        "worst": order[len(order) - each :],
    }


def face_sheet(report: LandmarkReport, faces: FaceDataset, each: int = EACH) -> np.ndarray:
    """Show the best, median and worst faces, true points green and found ones red.

    Args:
        report: What was found in `faces`.
        faces: The same, square.
        each: Faces in a row.

    Returns:
        uint8 RGB sheet; the numbers are errors in percent of the distance of the eyes.
    """
    tiles, labels = [], []
    for kind, chosen in extreme_faces(report.face_errors, each).items():
        for index in map(int, chosen):
            tile = mark(faces[index].image, report.truth[index], _TRUE)
            tiles.append(mark(tile, report.found[index], _FOUND))
            labels.append(f"{kind} {100 * report.face_errors[index]:.2f} %")
    columns = min(each, len(faces))
    title = f"{report.name}: NME {100 * report.nme.value:.2f} %, true points green, found red"
    return contact_sheet(tiles, columns, labels, title)


def plot_cumulative(
    reports: Sequence[LandmarkReport] | Mapping[str, LandmarkReport], path: str | Path
) -> None:
    """Draw the share of faces over their error.

    Args:
        reports: Reports, labelled by the faces' name, or by the key of a mapping.
        path: A name that ends in .png.

    Raises:
        FacedistillError: If there is no report, or the path is no PNG or cannot be written.
    """
    if not reports:
        raise FacedistillError(f"nothing to draw in {path}: there are no reports")
    items = reports.items() if isinstance(reports, Mapping) else ((r.name, r) for r in reports)
    figure = Figure(figsize=(6, 4.8), layout="constrained")
    axes = figure.subplots()
    limit = 0.0
    for name, report in items:
        errors, shares = cumulative_curve(report.face_errors)
        limit = max(limit, *report.failures)
        label = f"{name}, NME {100 * report.nme.value:.2f} %"
        axes.step([0, *(100 * errors)], [0, *(100 * shares)], where="post", label=label)
    axes.set(xlabel="error % of the distance of the eyes", ylabel="faces %")
    axes.set(xlim=(0, 150 * limit), ylim=(0, 101))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    save_figure(figure, path)


def write_landmark_figures(
    reports: Sequence[LandmarkReport], sets: Sequence[FaceDataset], folder: str | Path
) -> list[Path]:
    """Write `cumulative.png`, and `faces.png` of each set (numbered where there are several).

    Returns:
        The files written.
    """
    curve, *sheets = figure_files(Path(folder), len(sets))
    plot_cumulative(reports, curve)
    for path, report, faces in zip(sheets, reports, sets, strict=True):
        save_sheet(path, face_sheet(report, faces))
    return [curve, *sheets]


def figure_files(folder: Path, sets: int) -> list[Path]:
    """Return the files that `write_landmark_figures` writes into a folder."""
    numbers = range(1, sets + 1) if sets > 1 else [""]
    return [folder / "cumulative.png", *(folder / f"faces{number}.png" for number in numbers)]


class AlignedCrops(Protocol):
    """Loose crops and what each is made into.

    Attributes:
        source: The loose crops.
        size: Side of an aligned crop in pixels.
    """

    source: FaceDataset
    size: int

    def __len__(self) -> int:
        """Return the number of faces."""
        ...

    def crop(self, index: int) -> np.ndarray:
        """Return the aligned crop, uint8 RGB (size, size, 3), of face `index`."""
        ...


def aligned_sheet(faces: AlignedCrops, count: int = 40) -> np.ndarray:
    """Show loose crops and, beside each, what it was made into, with the template's points.

    Args:
        faces: Aligned faces.
        count: How many, evenly spread.

    Returns:
        uint8 RGB sheet.
    """
    count = min(count, len(faces))
    tiles = []
    for index in evenly_spread(len(faces), count).tolist():
        loose = faces.source[index].image
        side = max(loose.shape[:2])
        height, width = (max(1, round(TILE * length / side)) for length in loose.shape[:2])
        shown = cv2.resize(loose, (width, height), interpolation=cv2.INTER_AREA)
        tile = np.zeros((TILE, 2 * TILE, 3), np.uint8)
        top, left = (TILE - height) // 2, (TILE - width) // 2
        tile[top : top + height, left : left + width] = shown
        crop = faces.crop(index)
        points = to_fractions(template(faces.size), crop.shape)
        tile[:, TILE:] = mark(crop, points, _FOUND)
        tiles.append(tile)
    return contact_sheet(tiles, max(1, round(np.sqrt(count / 2))))
