"""Every objective of the registry, built for a run that has everything, and what to feed it."""

import torch

from facedistill.distill.objectives.registry import create_objective, objectives
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import batch_of
from tests.distill.objectives.contexts import everything, outputs_asked

LABELS = [0, 0, 1, 2, 2, 3, 1, 0]
IDENTITIES = 4

# Other tests register some of their own, which are no methods.
NAMES = [name for name, kind in objectives.items() if not kind.__module__.startswith("test")]
ASKED = {name: create_objective(name, everything()).needs for name in NAMES}


def every(name, run=None, **options):
    torch.manual_seed(2)
    return create_objective(name, run or everything(), **options)


def outputs(student=5, teacher=3, count=8, seed=4):
    """All that both networks of `everything` can give, float64, and what a batch has."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape, scale=1.0):
        return scale * torch.randn(count, *shape, generator=generator, dtype=torch.float64)

    of_student = Outputs(
        embedding=drawn(student, scale=3),
        logits=drawn(IDENTITIES, scale=9),
        feature_map=drawn(5, 2, 2),
        landmarks=drawn(5, 2),
    )
    of_teacher = Outputs(
        embedding=drawn(teacher, scale=2),
        plain_embedding=drawn(teacher, scale=2),
        logits=drawn(IDENTITIES, scale=9),
        feature_map=drawn(3, 3, 3),
        tokens=drawn(11, 3),
        landmarks=drawn(5, 2),
    )
    images = batch_of(LABELS[:count])
    images.landmarks = drawn(5, 2)
    return of_student, of_teacher, images


def of_type(values, dtype):
    return Outputs(**{k: None if v is None else v.to(dtype) for k, v in vars(values).items()})


def read(objective, network, values):
    """The tensors of `network` (`student` or `teacher`) that an objective reads."""
    asked = sorted(n for n in outputs_asked(objective) if n.startswith(f"{network}."))
    return [getattr(values, need.removeprefix(f"{network}.")) for need in asked]


def trained_with(objective, *given, gather=lambda rows: rows):
    """One step of training, memories and all."""
    objective.observe(*given)
    loss, _ = objective(*given)
    objective.finish_step(gather)
    return loss
