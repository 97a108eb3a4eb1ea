"""Runs as objectives see them, without one."""

import torch

from facedistill.distill.bank.mining import Neighbours, nearest
from facedistill.distill.objectives.context import (
    LandmarkCounts,
    RunContext,
    TeacherFacts,
    TrainingFaces,
)
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.relations.relation import unit


def context(student_size=5, teacher_size=None, identities=0, **needs):
    """A run that serves these needs: `saliency=...` is `run.saliency`, a value or its provider."""
    providers = {
        f"run.{name}": value if callable(value) else lambda *_, value=value: value
        for name, value in needs.items()
    }
    return RunContext(student_size, teacher_size, identities, providers)


def everything(student_size=5, teacher_size=3, identities=4, **changes):
    """A run that serves every need; `changes` as `context` takes them, None for what it lacks."""
    generator = torch.Generator().manual_seed(1)
    centres = unit(torch.randn(max(identities, 1), teacher_size or 1, generator=generator))

    def neighbours(count):
        return Neighbours(centres, *nearest(centres, min(count, max(1, identities - 1))))

    needs = {
        "neighbours": neighbours,
        "class_centres": centres,
        "class_head": None,
        "teacher_classes": identities or None,
        "channels": (5, 3),
        "pixel_features": (
            PixelFeatures("feature_map", 5, 2, (4, 5)), PixelFeatures("tokens", 3, 3)
        ),
        "saliency": torch.linspace(0, 6, 9).view(3, 3),
        "faces": TrainingFaces("faces", "f" * 32),
        "teacher": TeacherFacts("the teacher", trains=True),
        "images_per_identity": 2,
        "landmarks": LandmarkCounts(5, 5),
    }  # fmt: skip
    return context(student_size, teacher_size, identities, **{**needs, **changes})


def outputs_asked(objective):
    """What an objective reads of networks and batch."""
    return {need for need in objective.needs if not need.startswith("run.")}
