"""Pictures that a finished run leaves in its folder."""

from __future__ import annotations

from pathlib import Path

import torch

from facedistill.data.sample import FaceDataset
from facedistill.distill.teacher import NetworkTeacher, Teacher
from facedistill.distill.teacher_pass import sample_faces
from facedistill.distill.urfm import UnifiedReceptiveFields
from facedistill.models.evaluation_mode import evaluation_mode
from facedistill.training.step import TrainingStep

RECEPTIVE_FIELDS = "receptive_fields.png"
SALIENCY = "saliency.png"

FACES = 64
"""Faces over which the pictures are means."""


def write_pictures(
    folder: Path, step: TrainingStep, teacher: Teacher | None, faces: FaceDataset
) -> list[Path]:
    """Draw what the local centres of a run look at, if it has such.

    Args:
        folder: Of the run.
        step: As it is after training.
        teacher: The one that teaches `urfm`.
        faces: The training faces; some of them are shown.

    Returns:
        The pictures written; none for a run without `urfm`.
    """
    everything = step.objectives.values()
    mappings = [each for each in everything if isinstance(each, UnifiedReceptiveFields)]
    if not mappings:
        return []
    (objective,) = mappings
    assert isinstance(teacher, NetworkTeacher)
    # matplotlib takes its time, and most runs have nothing to draw.
    from facedistill.report import receptive_fields as report

    student, network = step.student, teacher.network
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
    return written
