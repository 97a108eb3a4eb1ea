"""Small runs and outputs that the tests of single objectives share."""

import torch

from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.objectives.relations.relation import unit
from tests.distill.objectives.by_hand import batch_of, outputs_of
from tests.distill.objectives.contexts import context
from tests.distill.objectives.registered import IDENTITIES, LABELS

STUDENT, TEACHER = 5, 3


def seeing(student, teacher):
    """A run with these pixel features."""
    return context(STUDENT, TEACHER, IDENTITIES, pixel_features=(student, teacher))


PIXELS = seeing(PixelFeatures("feature_map", 5, 2), PixelFeatures("tokens", 3, 3))
"""A CNN's map of 2 x 2 pixels and a Transformer's of 3 x 3, with two prompts behind them."""


def setting(student=STUDENT, teacher=TEACHER, identities=IDENTITIES):
    generator = torch.Generator().manual_seed(1)
    centres = unit(torch.randn(identities, teacher or 1, generator=generator))
    return context(student, teacher, identities, class_centres=centres)


def made(name, run=None, **options):
    torch.manual_seed(2)
    return create_objective(name, run or setting(), **options)


def both_outputs(student=STUDENT, teacher=TEACHER, count=8):
    """Outputs of student and teacher, float64: embeddings and logits."""
    of_student = outputs_of(
        3 * torch.randn(count, student).double(), 9 * torch.randn(count, IDENTITIES).double()
    )
    of_teacher = outputs_of(
        2 * torch.randn(count, teacher).double(), 9 * torch.randn(count, IDENTITIES).double()
    )
    return of_student, of_teacher


def batch(count=8):
    return batch_of(LABELS[:count])
