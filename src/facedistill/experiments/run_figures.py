"""Pictures that a finished run leaves in its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from facedistill.data.dataset import FaceDataset
from facedistill.distill.objectives.cross_architecture.urfm import (
    UnifiedReceptiveFields,
    agreement,
    correlation,
)
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.teacher_pass import sample_faces
from facedistill.engine.step import TrainingStep
from facedistill.experiments.folder import RECEPTIVE_FIELDS, SALIENCY
from facedistill.models.evaluation_mode import evaluation_mode
from facedistill.models.face_network import FaceNetwork

FACES = 64
"""Faces over which the pictures are means."""


@dataclass(frozen=True)
class Pictures:
    """What was drawn.

    Attributes:
        files: The pictures.
        figures: How alike student and teacher look on the faces shown: `agreement` and
            `correlation` of `urfm`.
    """

    files: list[Path] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def write_pictures(
    folder: Path,
    step: TrainingStep,
    student: FaceNetwork,
    teacher: Teacher | None,
    faces: FaceDataset,
) -> Pictures:
    """Draw what the local centres of a run look at, if it has such.

    Args:
        folder: Of the run.
        step: As it is after training.
        student: The trained network as it is shipped.
        teacher: The one that teaches `urfm`.
        faces: The training faces; some of them are shown.

    Returns:
        The pictures; none for a run without `urfm`.
    """
    everything = step.objectives.values()
    mappings = [each for each in everything if isinstance(each, UnifiedReceptiveFields)]
    if not mappings:
        return Pictures()
    (objective,) = mappings
    assert isinstance(teacher, NetworkTeacher)
    # matplotlib takes its time, and most runs have nothing to draw.
    from facedistill.report.figures import receptive_fields as report

    network = teacher.network
    if isinstance(network, torch.nn.Module):
        network.to(student.device)
    shown = sample_faces(faces, FACES, max(student.input.size, network.input.size))
    with evaluation_mode(student):
        ours, theirs = report.attention_maps(objective, student, network, shown)
    written = [folder / RECEPTIVE_FIELDS]
    report.plot_receptive_fields(ours, theirs, shown, written[0])
    if objective.saliency is not None:
        written.append(folder / SALIENCY)
        report.plot_saliency(objective.saliency, shown, written[1])
    alike = {
        "agreement": float(agreement(ours, theirs).mean()),
        "correlation": float(correlation(ours, theirs)),
    }
    return Pictures(written, alike)
