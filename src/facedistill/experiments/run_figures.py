"""Figures that a finished run leaves in its folder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from facedistill.data.dataset import FaceDataset
from facedistill.data.views.selection import evenly_spaced
from facedistill.distill.objectives.base import Objective
from facedistill.distill.teachers.base import Network, Teacher
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.engine.gradient_shares import SUFFIX
from facedistill.engine.step import TrainingStep
from facedistill.models.evaluation_mode import evaluation_mode
from facedistill.models.face_network import FaceNetwork
from facedistill.report.figures.figure_mark import free_figure

FACES = 64
"""Faces over which the figures are means."""


SHARES = "gradient_shares.png"
"""Name of the figure of the terms' shares of the gradient."""

_FEWEST_DRAWN = 3
"""Measurements of shares, of which fewer are no curve."""


@dataclass(frozen=True)
class RunFigures:
    """What was drawn.

    Attributes:
        files: The figures.
        numbers: What they show in short, such as how alike student and teacher look.
    """

    files: list[Path] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)


def write_figures(
    folder: Path,
    step: TrainingStep,
    student: FaceNetwork,
    teacher: Teacher | None,
    others: Mapping[str, Teacher],
    faces: FaceDataset,
) -> RunFigures:
    """Draw what the objectives of a run can show of its networks.

    Args:
        folder: Of the run.
        step: As it is after training.
        student: The trained network as it is shipped.
        teacher: The run's teacher.
        others: Further ones by name.
        faces: The training faces; some of them are shown.

    Returns:
        The figures; none where no objective has something to show.
    """
    drawn = RunFigures()
    for name, objective in step.objectives.items():
        own = others.get(step.teacher_of.get(name, ""), teacher)
        # Few objectives have something to show: faces are read for those alone.
        assert isinstance(objective, Objective)
        network = own.network if isinstance(own, NetworkTeacher) else own.plain if own else None
        if type(objective).figures is not Objective.figures and network is not None:
            _draw(folder, objective, student, network, faces, drawn)
    return drawn


def _draw(
    folder: Path,
    objective: Objective,
    student: FaceNetwork,
    network: Network,
    faces: FaceDataset,
    drawn: RunFigures,
) -> None:
    # matplotlib takes its time, and most runs have nothing to draw.
    from facedistill.report.figures import face_maps as report

    size = max(student.input.size, network.input.size)
    shown = evenly_spaced(faces, FACES, size, skip_damaged=True)
    with evaluation_mode(student):
        figures = objective.figures(student, network, torch.from_numpy(shown).to(student.device))
    for name, maps in figures.maps.items():
        drawn.files.append(_place(folder / f"{name}.png"))
        report.plot_maps(maps.student, maps.teacher, shown, drawn.files[-1])
    for name, face_map in figures.face_maps.items():
        drawn.files.append(_place(folder / f"{name}.png"))
        report.plot_face_map(name, face_map, shown, drawn.files[-1])
    drawn.numbers.update(figures.numbers)


def write_share_figure(folder: Path, records: list[dict[str, Any]]) -> list[Path]:
    """Draw the terms' shares of the gradient over training.

    Args:
        folder: Of the run.
        records: Of its `metrics.jsonl`.

    Returns:
        The figure; none of fewer than two terms, or three measurements.
    """
    names = list(dict.fromkeys(key for record in records for key in record if SUFFIX in key))
    measured = [record for record in records if any(name in record for name in names)]
    if len(names) < 2 or len(measured) < _FEWEST_DRAWN:
        return []
    from facedistill.report.figures.curves import save_figure, series
    from facedistill.report.figures.share_curves import draw_shares

    curves = {name.removesuffix(SUFFIX): series(measured, name) for name in names}
    place = _place(folder / SHARES)
    save_figure(draw_shares(curves), place)
    return [place]


def _place(wanted: Path) -> Path:
    place = free_figure(wanted)
    if place != wanted:
        warnings.warn(
            f"{wanted} is there already and no figure of facedistill: the run's is {place.name}",
            stacklevel=2,
        )
    return place
