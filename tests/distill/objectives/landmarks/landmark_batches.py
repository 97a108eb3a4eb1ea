"""Random landmarks, a batch with them, and a run of a student and a teacher of landmarks."""

import numpy as np
import torch

from facedistill.data.batch import Batch
from facedistill.distill.objectives.context import RunContext

SETTING = RunContext(student_size=8, teacher_size=8, identities=0)


def points(count=4, number=5, seed=0):
    return torch.rand(count, number, 2, generator=torch.Generator().manual_seed(seed))


def batch(landmarks):
    images = torch.zeros(len(points()), 2, 2, 3, dtype=torch.uint8)
    return Batch(images, -torch.ones(4), torch.zeros(4), np.zeros((4, 16)), landmarks=landmarks)
